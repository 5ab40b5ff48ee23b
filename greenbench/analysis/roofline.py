"""How near decoding comes to what the device can do: what stays far below is bound by launches, not bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from greenbench.schema.metrics import MODEL_BYTES, TPOT
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.window import Who

SIZES: Final = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of a weight of the plain model."""
NO_ROOF: Final = "the device's own speed was not measured"
OTHER_STEPS: Final = {"decoding", "early_exit", "sparse_activation"}
"""Families of techniques whose steps are not one pass of the whole model for one token."""
NO_STEP: Final = "a step of it makes several tokens, or reads a part of the weights"
SEVERAL: Final = "the speed of one of several GPUs was measured, and they read at once"
UNDER_LOAD: Final = "under load batches are of many sizes"


def roofline_share(record: Record, who: Who) -> Quantity:
    """The least time that a step of decoding can take on the device, over the time it took.

    That least time is the longer of two: to read all weights held once, and to multiply each of the plain
    model's with each request's token. Keys and values are left out, and embeddings are taken for multiplied.
    """
    roof: Mapping[str, Any] = record.environment.get("roofline") or {}
    subject = record.baseline if who == "baseline" else record.candidate
    if not roof or subject is None or record.baseline is None:
        return missing("fraction", record.environment.get("roofline_missing") or NO_ROOF)
    if record.spec.load.arrivals != "closed":
        return missing("fraction", UNDER_LOAD)
    if len(record.environment.get("device", {}).get("uuids", ())) > 1:
        return missing("fraction", SEVERAL)
    if who == "candidate" and any(part.family in OTHER_STEPS for part in record.techniques):
        return missing("fraction", NO_STEP)
    held, plain = (MODEL_BYTES.level(each.metrics) for each in (subject, record.baseline))
    took = TPOT.level(subject.metrics)
    for known in (held, plain, took):
        if not known.value:
            return missing("fraction", known.reason or NO_ROOF)
    weights = (plain.value or 0.0) / SIZES[record.spec.model.dtype]
    reading_s = (held.value or 0.0) / roof["bytes_per_s"]
    computing_s = 2 * weights * record.spec.workload.batch_size / roof["flops_per_s"]
    least_s = max(reading_s, computing_s)
    return Quantity(
        value=least_s / (took.value or 1.0),
        unit="fraction",
        provenance="estimated:model",
        n=took.n,
        reason="of a ceiling that was measured in a moment: no interval",
    )
