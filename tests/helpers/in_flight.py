"""Talks with a served model, of several requests beside each other."""

import asyncio


def answers(line, requests, **how):
    """What becomes of each, asked all at once; `how` as of `asyncio.gather`."""
    return asyncio.gather(*(line.ask(each, []) for each in requests), **how)


def at_once(*requests, **how):
    """A talk that asks for all at once and returns what became of each, in order."""

    async def talk(line):
        return await answers(line, requests, **how)

    return talk
