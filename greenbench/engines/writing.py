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
Markers = tuple[str, str]
"""What begins a thought and what ends it."""


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
    """It ends where one of these comes, thoughts aside."""
    draw: Draw | None = None
    """Null: greedily."""
    most_thoughts: int | None = None
    """As in `Manner`."""
    sure: bool = False
    """Whether the answer is to tell how sure the model is of it, its thoughts aside."""


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
    handed_over: bool = False
    """Whether a small model was not sure of its own, and this is the large one's."""


Write = Callable[[Sequence[Ask]], list[Written]]


def bounded(
    write: Write, asks: Sequence[Ask], encode: Callable[[str], list[int]], marker: Markers | None
) -> list[Written]:
    """What `write` says, which knows no `most_thoughts`, in two steps where these are bounded."""
    if marker is None or asks[0].most_thoughts is None:
        return write(asks)
    return in_two_steps(write, asks, encode, marker)


def in_two_steps(
    write: Write, asks: Sequence[Ask], encode: Callable[[str], list[int]], marker: Markers
) -> list[Written]:
    """What `write` says: first its thoughts, then with them what follows.

    The first step ends with the thoughts, or at their bound; the second is asked with them, and the marker
    that ends them, as if the model had come so far. Both count, and so does reading the prompt a second time.
    What does not think has said all in the first, and is cut where it should have ended.
    """
    opening, closing = marker
    first = write([_thinking(ask, closing) for ask in asks])
    going = [
        place
        for place, (ask, each) in enumerate(zip(asks, first, strict=True))
        if each.completion.tokens < ask.most_tokens
        and (each.thought_tokens or opening in each.text or (each.cut and ask.most_thoughts))
    ]
    goes_on = [
        asks[place]._replace(
            tokens=(*asks[place].tokens, *encode(f"{first[place].text}{closing}\n\n")),
            most_tokens=asks[place].most_tokens - first[place].completion.tokens,
            most_thoughts=None,
        )
        for place in going
    ]
    rest = dict(zip(going, write(goes_on) if goes_on else [], strict=True))
    return [
        _joined(each, rest[place], f"{closing}\n\n")
        if place in rest
        else _ended(each, asks[place].until, opening)
        for place, each in enumerate(first)
    ]


def _thinking(ask: Ask, closing: str) -> Ask:
    """Only its thoughts."""
    most = min(ask.most_thoughts or ask.most_tokens, ask.most_tokens)
    return ask._replace(most_tokens=most, until=(closing,), most_thoughts=None)


def _ended(whole: Written, until: Sequence[str], opening: str) -> Written:
    """It, where it has not thought, up to what ends it."""
    if whole.thought_tokens or opening in whole.text:
        return whole
    text = ended_at(whole.text, until)
    return whole._replace(text=text, cut=whole.cut and text == whole.text)


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
            other.confidence,
        ),
        rest.cut,
        one.tokens + rest.thought_tokens,
    )


def markers(template: str | None) -> Markers | None:
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


def thoughts(prompt: str, text: Callable[[int], str], tokens: int, marker: Markers | None) -> int:
    """How many of an answer's `tokens` are its thoughts, markers included; ``text(n)``: of the first n."""
    if marker is None:
        return 0
    opening, closing = marker
    whole = text(tokens)
    if closing in whole:
        return shortest(tokens, lambda few: closing in text(few))
    return tokens if opening in whole or opened(prompt, marker) else 0


def opened(prompt: str, marker: Markers) -> bool:
    """Whether a prompt ends amid a thought."""
    _, begun, since = prompt.rpartition(marker[0])
    return bool(begun) and marker[1] not in since


def may_think(prompt: str, marker: Markers) -> bool:
    """Whether an answer to a prompt may begin with a thought: not where the prompt has ended it."""
    return not prompt.rstrip().endswith(marker[1])


def ended_at(text: str, until: Sequence[str], *, after_thoughts: bool = False) -> str:
    """`text` up to the first of `until`; the blanks that follow thoughts end nothing."""
    if after_thoughts:
        rest = text.lstrip()
        return text[: len(text) - len(rest)] + ended_at(rest, until)
    places = [place for stop in until if stop and (place := text.find(stop)) >= 0]
    return text[: min(places, default=len(text))]


def after_thoughts(text: str, closing: str) -> str:
    """What a model says once it has thought; nothing where it has not come so far."""
    _, found, rest = text.rpartition(closing)
    return rest.lstrip() if found else ""
