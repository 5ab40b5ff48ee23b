"""Two models, together or in turn."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
from helpers.engines import Echoing

from greenbench.engines.engine import Build
from greenbench.measure import pair
from greenbench.schema.enums import Design

PLAIN = Build(None, "safetensors", None, None)
GIB = 2**30


class Served(Echoing):
    """Knows what it was made of."""

    def __init__(self, build):
        super().__init__(None)
        self.build = build


@pytest.fixture
def alive():
    return []


@pytest.fixture
def serve(alive):
    @contextmanager
    def serve(who, build):
        alive.append(build)
        yield Served(build)
        alive.remove(build)

    return serve


def test_models_that_do_not_fit_together_are_measured_in_turn():
    assert pair.apart_reason(Design.auto, 10 * GIB, 4 * GIB, 4 * GIB) is None
    assert pair.apart_reason(Design.auto, 10 * GIB, 5 * GIB, 5 * GIB) == (
        "a second model of 5.0 GiB does not fit beside the first: 5.0 GiB are free"
    )
    assert pair.apart_reason(Design.interleaved, 10 * GIB, 10 * GIB, 10 * GIB) is None
    assert "sequential" in pair.apart_reason(Design.sequential, 10 * GIB, 1, 1)


def test_room_is_asked_for_the_candidate_as_its_engine_holds_it():
    assert pair.apart_reason(Design.auto, 10 * GIB, 8 * GIB, 1 * GIB) is None
    assert "a second model of 8.0 GiB" in pair.apart_reason(Design.auto, 10 * GIB, 1 * GIB, 8 * GIB)


def test_in_turn_only_one_model_is_served_and_every_one_but_the_first_is_warmed_up(serve, alive):
    warmed = []
    make = {who: lambda who=who: replace(PLAIN, source=who) for who in ("baseline", "candidate")}
    with pair.InTurn(serve, make, lambda served: warmed.append(served.build.source)) as turns:
        for who in ("baseline", "candidate", "candidate", "baseline"):
            with turns.use(who) as served:
                assert served.build.source == who
                assert [build.source for build in alive] == [who]
    assert not alive
    assert warmed == ["candidate", "baseline"]
    assert set(turns.footprints) == {"baseline", "candidate"}


def test_one_that_sleeps_is_made_once_and_wakes_before_it_is_used_again(serve, alive):
    told = []

    class Sleeps(Served):
        def sleep(self):
            told.append(f"{self.build.source} sleeps")

        def wake(self):
            told.append(f"{self.build.source} wakes")

    @contextmanager
    def start(who, build):
        with serve(who, build):
            yield Sleeps(build)

    def made(who):
        told.append(f"{who} made")
        return replace(PLAIN, source=who)

    make = {who: lambda who=who: made(who) for who in ("baseline", "candidate")}
    warm = lambda served: told.append(f"{served.build.source} warms")  # noqa: E731
    with pair.InTurn(start, make, warm, sleepers={"baseline"}) as turns:
        for who in ("baseline", "candidate", "baseline", "candidate"):
            with turns.use(who):
                kept = {"baseline"} | {who}
                assert {build.source for build in alive} == kept
    assert not alive
    assert told == [
        "baseline made", "baseline sleeps", "candidate made", "candidate warms",
        "baseline wakes", "baseline warms", "baseline sleeps", "candidate made", "candidate warms",
    ]  # fmt: skip


def test_the_baseline_is_looked_at_alone_before_and_after_the_candidate(serve, alive):
    make = {who: lambda who=who: replace(PLAIN, source=who) for who in ("baseline", "candidate")}
    seen = []
    look = lambda: seen.append([build.source for build in alive])  # noqa: E731
    with pair.Together(serve, make) as both:
        both.alone(look)
        both.fill()
        seen.append("both")
    assert seen == [["baseline"], "both", ["baseline"]]
    assert not alive

    def fail():
        with pair.Together(serve, make) as both:
            both.alone(look)
            both.fill()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen[3:] == [["baseline"]]  # nobody looks where something went wrong
    assert not alive
    with pair.InTurn(serve, make) as turns:
        turns.alone(look)
    assert len(seen) == 4


def test_a_candidate_that_cannot_be_made_ends_the_baseline():
    ended = []

    @contextmanager
    def serve(who, build):
        try:
            yield Served(build)
        finally:
            ended.append(build)

    def fail():
        raise MemoryError

    make = {"baseline": lambda: PLAIN, "candidate": fail}
    with pytest.raises(MemoryError), pair.Together(serve, make) as both:
        both.fill()
    assert ended == [PLAIN]


def test_the_candidate_runs_in_its_surroundings_and_the_baseline_outside_of_them(serve):
    seen = []

    @contextmanager
    def hold():
        seen.append("before")
        yield
        seen.append("after")

    make = {
        "baseline": lambda: replace(PLAIN, source="b"),
        "candidate": lambda: replace(PLAIN, source="c", hold=hold),
    }
    with pair.Together(serve, make) as both:
        for who in ("baseline", "candidate"):
            with both.use(who) as served:
                seen.append(served.build.source)
    assert seen == ["b", "before", "c", "after"]


def test_one_that_computes_on_after_its_last_answer_costs_the_other_nothing(serve, monkeypatch):
    told = []
    monkeypatch.setattr(pair.time, "sleep", told.append)
    make = {who: lambda who=who: replace(PLAIN, source=who) for who in ("baseline", "candidate")}
    with pair.Together(serve, make, rest_s={"baseline": 1.2, "candidate": 0.5}) as both:
        for who in ("baseline", "candidate"):
            with both.use(who) as served:
                told.append(served.build.source)
    assert told == ["baseline", 1.2, "candidate", 0.5]
