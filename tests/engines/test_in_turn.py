"""What answers one at a time answers in the order in which it was asked."""

import asyncio
import threading
import time

import pytest

from greenbench.engines import in_turn
from greenbench.engines.engine import Completion, Queue, Request


class Slow:
    """Answers when it is let."""

    def __init__(self):
        self.begun, self.threads, self.let = [], set(), threading.Semaphore(0)

    def complete(self, batch):
        (request,) = batch
        self.begun.append(request.tokens[0])
        self.threads.add(threading.get_ident())
        sent_s = time.perf_counter()
        assert self.let.acquire(timeout=20)
        if request.tokens[0] < 0:
            raise ZeroDivisionError
        done_s = time.perf_counter()
        return [Completion(1, 1, sent_s, (done_s,), done_s)]


@pytest.fixture
def slow():
    return Slow()


def asking(line, *numbers):
    return [asyncio.create_task(line.ask(Request((number,), 1), [])) for number in numbers]


async def begun(slow, count):
    while len(slow.begun) < count:
        await asyncio.sleep(0.002)


def test_first_come_first_answered_by_one_thread(slow):
    async def talk(line):
        asked = asking(line, *range(9))
        slow.let.release(9)
        return await asyncio.gather(*asked)

    done = in_turn.converse(slow.complete, talk)
    assert slow.begun == list(range(9))
    assert len(slow.threads) == 1
    assert slow.threads != {threading.get_ident()}
    ends = [each.done_s for each in done]
    assert ends == sorted(ends)


def test_a_request_is_sent_when_it_is_asked_and_the_others_wait(slow):
    async def talk(line):
        asked = asking(line, 0, 1, 2)
        await begun(slow, 1)
        busy, now_s = await line.queue(), time.perf_counter()
        slow.let.release(3)
        return busy, now_s, await asyncio.gather(*asked), await line.queue()

    busy, now_s, done, idle = in_turn.converse(slow.complete, talk)
    assert (busy, idle) == (Queue(1, 2), Queue(0, 0))
    assert all(each.sent_s < now_s < each.done_s for each in done)


def test_one_that_is_given_up_while_it_waits_is_never_begun(slow):
    async def talk(line):
        first, second, third = asking(line, 0, 1, 2)
        await begun(slow, 1)
        second.cancel()
        await asyncio.wait([second])
        slow.let.release(2)
        return (await first).tokens, second.cancelled(), (await third).tokens

    assert in_turn.converse(slow.complete, talk) == (1, True, 1)
    assert slow.begun == [0, 2]


def test_one_that_is_being_made_is_waited_for_and_no_other_is_begun(slow):
    async def talk(line):
        asking(line, 0, 1, 2)
        await begun(slow, 1)
        threading.Timer(0.1, slow.let.release, [3]).start()

    in_turn.converse(slow.complete, talk)
    assert slow.begun == [0]
    assert slow.let.acquire(blocking=False)  # the first one has ended: two of three are left


def test_what_goes_wrong_with_one_is_told_to_whom_it_concerns(slow):
    async def talk(line):
        slow.let.release(3)
        return await asyncio.gather(*asking(line, 0, -1, 2), return_exceptions=True)

    first, fault, last = in_turn.converse(slow.complete, talk)
    assert (first.tokens, last.tokens) == (1, 1)
    assert isinstance(fault, ZeroDivisionError)


def test_the_thread_is_prepared_before_it_answers(slow):
    async def talk(line):
        slow.let.release(2)
        return await asyncio.gather(*asking(line, 0, 1))

    prepared = []
    in_turn.converse(slow.complete, talk, lambda: prepared.append(threading.get_ident()))
    assert set(prepared) == slow.threads
    assert len(prepared) == 1
