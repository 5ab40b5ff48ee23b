"""Profiles of two imagined models. The numbers are inputs, not measured."""

from greenbench.schema.profile import Operator, Profile, Profiled

REPETITIONS = 5
WOBBLE = (0.99, 1.0, 1.01, 1.0, 1.0)
"""Around each number of seconds, by repetition."""


def series(seconds):
    return [seconds * each for each in WOBBLE]


def side(*operators, by_rows_s=0.0, multiplications=1e9, elements=1e6, calls=None, **kinds_s):
    """One model's, of `kinds_s` with ``_`` for a blank."""
    kinds = {kind.replace("_", " "): series(seconds) for kind, seconds in kinds_s.items()}
    return Profiled(
        wall_s=series(sum(kinds_s.values())),
        kinds_s=kinds,
        by_rows_s=series(by_rows_s),
        calls=calls or dict.fromkeys(kinds, 100.0),
        multiplications=multiplications,
        elements=elements,
        operators=operators or (operator("aten::mm", "products", kinds_s.get("products", 0.0)),),
    )


def operator(name, kind, seconds, numbers="float × float"):
    return Operator(name=name, numbers=numbers, kind=kind, calls=100.0, seconds=series(seconds))


def profile(baseline, candidate):
    return Profile(tool="torch.profiler 2.13.0", tokens=16, baseline=baseline, candidate=candidate)
