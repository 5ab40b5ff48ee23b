"""Every metric once: its name in a record, its unit, the name of its ratio, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from greenbench.schema.quantity import Quantity, named


class Metric(NamedTuple):
    """One number of a model, and of candidate over baseline."""

    name: str
    """Of the level, in `Subject.metrics`."""
    unit: str
    ratio: str = ""
    """Of the ratio, in `Findings.ratios`, `Findings.verdicts` and `LoadPoint.ratios`; empty: it has none."""
    better: Literal["lower", "higher"] = "lower"

    def level(self, levels: Mapping[str, Quantity]) -> Quantity:
        """This metric among a model's, or why it is not there."""
        return named(levels, self.name, self.unit)


ENERGY_PER_TOKEN: Final = Metric("energy_per_token_j", "J/token", "energy_per_token")
ENERGY_PER_TOKEN_LOW: Final = Metric("energy_per_token_low_j", "J/token")
"""Bounds of an estimate."""
ENERGY_PER_TOKEN_HIGH: Final = Metric("energy_per_token_high_j", "J/token")
DECODE_ENERGY_PER_TOKEN: Final = Metric(
    "decode_energy_per_token_j", "J/token", "decode_energy_per_token"
)
PREFILL_ENERGY: Final = Metric("prefill_energy_j", "J/request batch", "prefill_energy")
TTFT: Final = Metric("ttft_p50_s", "s", "ttft")
"""Time to the first token."""
TTFT_P90: Final = Metric("ttft_p90_s", "s", "ttft_p90")
TTFT_P99: Final = Metric("ttft_p99_s", "s", "ttft_p99")
TPOT: Final = Metric("tpot_p50_s", "s", "tpot")
"""Time per output token: of every gap between two, and under load of each request's mean gap."""
TPOT_P90: Final = Metric("tpot_p90_s", "s", "tpot_p90")
TPOT_P99: Final = Metric("tpot_p99_s", "s", "tpot_p99")
TOKENS_PER_S: Final = Metric("tokens_per_s", "token/s", "tokens_per_s", "higher")
SECONDS_PER_TOKEN: Final = Metric("seconds_per_token", "s/token", "seconds_per_token")
"""One over the last, of which no record speaks: less is better, as of all that quality is set against."""
MODEL_BYTES: Final = Metric("model_bytes", "B", "model_bytes")
"""Weights held."""
HOST_PEAK_BYTES: Final = Metric("host_peak_bytes", "B")
DEVICE_PEAK_BYTES: Final = Metric("device_peak_bytes", "B")
ENERGY_PER_ANSWER: Final = Metric("energy_per_answer_j", "J/answer", "energy_per_answer")
"""Of questions apart by difficulty, as the two below."""
SECONDS_PER_ANSWER: Final = Metric("seconds_per_answer", "s/answer", "seconds_per_answer")
ENERGY_PER_REQUEST: Final = Metric("energy_per_request_j", "J/request", "energy_per_request")
"""Under load, as all down to the length of its queue: always-on, all joules of the window."""
MARGINAL_ENERGY_PER_REQUEST: Final = Metric(
    "marginal_energy_per_request_j", "J/request", "marginal_energy_per_request"
)
"""Above idle power with the model loaded."""
ENERGY_PER_ANY_TOKEN: Final = Metric("energy_per_any_token_j", "J/token", "energy_per_any_token")
"""Of prompts and answers alike."""
POWER: Final = Metric("power_w", "W", "power")
THROUGHPUT: Final = Metric("throughput_per_s", "request/s", "throughput", "higher")
GOODPUT: Final = Metric("goodput_per_s", "request/s", "goodput", "higher")
"""Answered within the limits."""
GOOD: Final = Metric("good", "fraction", better="higher")
"""Of the requests, answered within the limits."""
E2E: Final = Metric("e2e_p50_s", "s", "e2e")
"""From when a request was due to the end of its answer."""
E2E_P90: Final = Metric("e2e_p90_s", "s", "e2e_p90")
E2E_P99: Final = Metric("e2e_p99_s", "s", "e2e_p99")
BUSY: Final = Metric("busy", "fraction")
"""Of the time, with any request in flight."""
IN_FLIGHT: Final = Metric("in_flight", "requests")
BATCH: Final = Metric("batch", "requests")
"""Being answered in the server beside each other, as it tells."""
QUEUE: Final = Metric("queue", "requests")
"""Waiting in the server, as it tells."""
BACKLOG: Final = Metric("backlog", "fraction")
"""Of the requests due in a window, those that its end found more of than its start."""
FAILED: Final = Metric("failed", "fraction")
"""Of the requests due, without a whole answer: refused, cut off or broken."""
ENERGY_PER_SOLVED: Final = Metric("energy_per_solved_j", "J/item", "energy_per_solved")
"""Of questions answered in words, those that were solved; all joules count, of wrong answers too."""
TOKENS_PER_ANSWER: Final = Metric("tokens_per_answer", "token/answer", "tokens_per_answer")
SHARE_SOLVED: Final = Metric("share_solved", "fraction", "share_solved", "higher")
ENERGY_TO_TARGET: Final = Metric("energy_to_target_j", "J", "energy_to_target")
"""Of a training, until its loss is as low as the baseline's last; as the four below."""
ENERGY_PER_TRAINING_TOKEN: Final = Metric(
    "energy_per_training_token_j", "J/token", "energy_per_training_token"
)
TRAINING_TOKENS_PER_S: Final = Metric(
    "training_tokens_per_s", "token/s", "training_tokens_per_s", "higher"
)
FINAL_LOSS: Final = Metric("final_loss", "nats/token")
"""After the baseline's tokens, of both."""
TUNING_ENERGY: Final = Metric("tuning_energy_j", "J")
"""Of all learning rates that were tried."""
ACCURACY: Final = Metric("accuracy", "fraction", better="higher")
METRICS: Final = (
    ENERGY_PER_TOKEN, ENERGY_PER_TOKEN_LOW, ENERGY_PER_TOKEN_HIGH, DECODE_ENERGY_PER_TOKEN,
    PREFILL_ENERGY, TTFT, TTFT_P90, TTFT_P99, TPOT, TPOT_P90, TPOT_P99, TOKENS_PER_S, MODEL_BYTES,
    HOST_PEAK_BYTES, DEVICE_PEAK_BYTES, ENERGY_PER_ANSWER, SECONDS_PER_ANSWER, ENERGY_PER_REQUEST,
    MARGINAL_ENERGY_PER_REQUEST, ENERGY_PER_ANY_TOKEN, POWER, THROUGHPUT, GOODPUT, GOOD, E2E, E2E_P90,
    E2E_P99, BUSY, IN_FLIGHT, BATCH, QUEUE, BACKLOG, FAILED, ENERGY_PER_SOLVED, TOKENS_PER_ANSWER,
    SHARE_SOLVED, ENERGY_TO_TARGET, ENERGY_PER_TRAINING_TOKEN, TRAINING_TOKENS_PER_S, FINAL_LOSS,
    TUNING_ENERGY, ACCURACY,
)  # fmt: skip

PublishedRatio: TypeAlias = Literal["energy_per_token", "tokens_per_s", "energy_per_answer"]
"""Ratios that are held against published ones."""
