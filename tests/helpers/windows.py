"""Windows as tests make them: meters that are exact, campaigns that are known."""

import time

from greenbench.engines.engine import Completion
from greenbench.meters.meter import Meter, Reading
from greenbench.schema.enums import Design, Tier
from greenbench.schema.spec import ProtocolSpec
from greenbench.schema.window import Percentiles, Place, Span, Window


class Watts(Meter):
    """A meter that counts exactly `power_w` joules a second, and faults when told to."""

    name, boundary, provenance, tick_s, note = "watts", "wall", "measured:wall", 1e-9, None

    def __init__(self, power_w):
        self.power_w, self.faults = power_w, ()

    def read(self):
        now_s = time.monotonic()
        return Reading(now_s, self.power_w * now_s, faults=self.faults)

    def close(self):
        pass


def iteration(tokens=4, seconds=0.01):
    """One request: its first token at half of the time, the others spread over the rest."""
    step_s = seconds / 2 / (tokens - 1)
    stamps = tuple(seconds / 2 + step_s * i for i in range(tokens))
    return Completion(tokens, 8, 0.0, stamps, seconds)


def window(who, phase, block, joules, tokens=32, iterations=2, seconds=1.0):
    latency = Percentiles(p50_s=seconds / 10, p90_s=seconds / 5, p99_s=seconds / 4, n=5)
    return Window(
        phase=phase, who=who, place=Place(series="block", unit=block, position=0),
        start_s=0, end_s=seconds * iterations,
        iterations=iterations, tokens=tokens if phase == "generate" else iterations, prompt_tokens=64,
        energy=[Span(meter="nvml", boundary="gpu", provenance="measured:counter:nvml", tick_s=0.1,
                     start_s=0, start_j=5, end_s=1, end_j=5 + joules)],
        iteration_s=[seconds] * iterations, ttft=latency, tpot=latency,
    )  # fmt: skip


def campaign(factor):
    """Three blocks that drift; the candidate always takes `factor` times the joules and seconds."""
    return [
        window(who, phase, block, joules * drift * scale, seconds=drift * scale)
        for block, drift in enumerate((1.0, 1.3, 1.9))
        for who, scale in (("baseline", 1.0), ("candidate", factor))
        for phase, joules in (("prefill", 4.0), ("generate", 64.0))
    ]


def protocol(**changes):
    values = {
        "tier": Tier.smoke, "window_s": 0.0, "min_iterations": 1, "blocks": 3, "max_blocks": 9,
        "target_half_width": 0.05, "idle_s": 0, "warmup_s": 0, "warmup_limit_s": 0.3,
        "time_limit_s": 10, "design": Design.auto,
    }  # fmt: skip
    return ProtocolSpec(**(values | changes))
