"""What a model is asked to answer in words, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from greenbench.engines.engine import Completion

MARKERS = (
    ("<think>", "</think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel|>analysis<|message|>", "<|start|>assistant<|channel|>final<|message|>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<reasoning>", "</reasoning>"),
)
"""What models that think first put around their thoughts, as their chat templates say."""


class Draw(NamedTuple):
    """How tokens are drawn, where the likeliest is not simply taken."""

    temperature: float
    top_p: float
    top_k: int
    """0: all."""
    seed: int


class Ask(NamedTuple):
    """One question."""

    tokens: tuple[int, ...]
    most_tokens: int
    """Of the answer, which the model may end before."""
    until: tuple[str, ...] = ()
    """It ends where one of these comes."""
    draw: Draw | None = None
    """Null: greedily."""
    most_thoughts: int | None = None
    """As in `Manner`."""


class Written(NamedTuple):
    """One answer."""

    text: str
    """Without what ended it."""
    completion: Completion
    """Its tokens, those of what ended it among them, and times."""
    cut: bool
    """Whether it was as long as it might be, and so had not come to its end."""
    thought_tokens: int = 0
    """Of those, the ones up to the end of its thoughts, markers included."""


Write = Callable[[Sequence[Ask]], list[Written]]


def bounded(
    write: Write,
    asks: Sequence[Ask],
    encode: Callable[[str], list[int]],
    marker: tuple[str, str] | None,
) -> list[Written]:
    """What `write` says, which knows no `most_thoughts`, in two steps where these are bounded.

    The first ends with the thoughts, or at their bound; the second is asked with them, and the marker that
    ends them, as if the model had come so far. Both count, and so does reading the prompt a second time.
    """
    if marker is None or asks[0].most_thoughts is None:
        return write(asks)
    opening, closing = marker
    first = write([_thinking(ask, closing) for ask in asks])
    going = [
        place
        for place, each in enumerate(first)
        if each.cut or each.thought_tokens or opening in each.text
    ]
    goes_on = [
        asks[place]._replace(
            tokens=(*asks[place].tokens, *encode(f"{first[place].text}{closing}\n\n")),
            most_tokens=max(asks[place].most_tokens - first[place].completion.tokens, 1),
            most_thoughts=None,
        )
        for place in going
    ]
    rest = dict(zip(going, write(goes_on) if goes_on else [], strict=True))
    return [
        _joined(each, rest[place], f"{closing}\n\n") if place in rest else each
        for place, each in enumerate(first)
    ]


def _thinking(ask: Ask, closing: str) -> Ask:
    """Only its thoughts."""
    most = min(ask.most_thoughts or 0, ask.most_tokens)
    return ask._replace(most_tokens=most, until=(closing,), most_thoughts=None)


def _joined(first: Written, rest: Written, between: str) -> Written:
    one, other = first.completion, rest.completion
    return Written(
        f"{first.text}{between}{rest.text}",
        Completion(
            one.tokens + other.tokens,
            one.prompt_tokens,
            one.sent_s,
            (*one.stamps_s, *other.stamps_s),
            other.done_s,
        ),
        rest.cut,
        one.tokens + rest.thought_tokens,
    )


def markers(template: str | None) -> tuple[str, str] | None:
    """What begins and ends a thought of a model with this chat template; null: it does not think first."""
    return next((pair for pair in MARKERS if template and pair[1] in template), None)


def shortest(whole: int, has: Callable[[int], bool]) -> int:
    """The fewest of `whole` tokens whose text `has` something that their text as a whole has.

    More tokens have what fewer have, so that halving finds it.
    """
    low, high = 0, whole
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if has(middle) else (middle + 1, high)
    return low


def thoughts(
    prompt: str, text: Callable[[int], str], tokens: int, marker: tuple[str, str] | None
) -> int:
    """How many of an answer's `tokens` are its thoughts, markers included; ``text(n)``: of the first n."""
    if marker is None:
        return 0
    opening, closing = marker
    whole = text(tokens)
    if closing in whole:
        return shortest(tokens, lambda few: closing in text(few))
    _, begun, since = prompt.rpartition(opening)
    thinks = opening in whole or (bool(begun) and closing not in since)
    return tokens if thinks else 0


def ended_at(text: str, until: Sequence[str]) -> str:
    """`text` up to the first of `until`."""
    places = [place for stop in until if stop and (place := text.find(stop)) >= 0]
    return text[: min(places, default=len(text))]


def after_thoughts(text: str, closing: str) -> str:
    """What a model says once it has thought; nothing where it has not come so far."""
    _, found, rest = text.rpartition(closing)
    return rest.lstrip() if found else ""
