"""One technique on one checkpoint: everything that a run does with it but measuring."""

from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import torch
from lm_eval.api.instance import Instance
from transformers import GenerationConfig

from greenbench.campaign.compose import plan
from greenbench.engines.engine import Build, Request
from greenbench.engines.transformers.engine import Transformers
from greenbench.engines.transformers.load import config
from greenbench.errors import Unsupported, UserError
from greenbench.measure.recorder import Recorder
from greenbench.meters import OpenMeters
from greenbench.models import files
from greenbench.run.preflight import refuse_here, refuse_model
from greenbench.run.prepare import Candidate, Place
from greenbench.schema.enums import Stop
from greenbench.schema.technique import AppliedTechnique
from helpers.techniques import CPU, OPTIONS, SMALLER, stack

TABLE = Path(__file__).parents[2] / "docs" / "architectures.md"
"""What is known to run, and what is refused; `tools/matrix.py` writes it."""
BRIEF = {"passages": 2, "tokens": 16, "steps": 2, "drafts": 3}
"""Knobs that make a preparation short, where a technique has them."""
NEW_TOKENS = 12
TEXT = "the sea and the sky and the sea and the sky and the"  # repeats, so that drafts are found
ASKED = Instance("loglikelihood", {}, (TEXT, " sea and the sky"), 0, ("task", 0, 1))


class Cell(NamedTuple):
    """What came of it."""

    refused: str | None
    """The sentence, where it does not run."""
    tokens: tuple[int, ...] = ()
    nats: float = 0.0
    applied: AppliedTechnique | None = None
    """As the record keeps it."""

    def __str__(self):
        """As the table has it: refused, or the share of the weights that it changed, or neither."""
        if self.refused:
            return "–"
        touched = self.applied and self.applied.touched
        return f"{100 * touched:.3g} %" if touched else "✓"


def techniques():
    """Every technique that runs on a CPU, by name."""
    found = []
    for option in OPTIONS:
        (technique,) = stack(option)
        if technique.name == option:
            with suppress(Unsupported):
                technique.check(CPU, Transformers())
                found.append(option)
    return found


def overrides(option, directory):
    """The command line's words for a brief preparation."""
    if option == "none":
        return []
    (technique,) = stack(option)
    known = {knob.name for knob in fields(technique)}
    said = {name: value for name, value in BRIEF.items() if name in known} | SMALLER.get(option, {})
    if option == "speculative":
        said["draft"] = directory
    return [f"technique.{technique.name}.{name}={_hydra(value)}" for name, value in said.items()]


def _hydra(value):
    if hasattr(value, "tokens"):
        return "{" + f"tokens:{value.tokens}" + "}"
    return value


def _greedy(scorer, served):
    """The tokens that it generates."""
    prompt = torch.tensor([served.tokenizer.encode(TEXT)])
    generate = scorer._loop or scorer.model.generate
    config = GenerationConfig(do_sample=False, min_new_tokens=NEW_TOKENS, max_new_tokens=NEW_TOKENS,
                              pad_token_id=0)  # fmt: skip
    with torch.inference_mode():
        output = generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=config)
    return tuple(output[0, prompt.shape[1] :].tolist())


def cell(directory: Path, option: str, *more: str) -> Cell:
    """Prepare `option` on the checkpoint in `directory`, generate and score with what it leaves."""
    words = ["model=local", f"model.path={directory}", "model.dtype=float32", f"technique={option}"]
    words += overrides(option, directory)
    spec = plan([*words, *more], multirun=False)[0].spec
    engine, chosen = Transformers(), list(spec.technique.values())
    try:
        refuse_here(spec, CPU)
        path = files.directory(spec.model)
        engine.check_model(spec.model, path, CPU)
        refuse_model(chosen, config(spec.model, path), spec.workload)
        base = Build(spec.model, "safetensors", path, path)
        place = Place(CPU, engine, base, again=False, fingerprint=directory.name)
        candidate = Candidate(
            spec, chosen, place, Recorder(OpenMeters()), lambda stage, done, total: None
        )
        with engine.serve(candidate.build(), CPU) as served:
            served.complete([Request(tuple(served.tokenizer.encode(TEXT)), NEW_TOKENS, Stop.fixed)])
            scorer = served.language_model(lambda: None, None)
            ((nats, _),) = scorer.loglikelihood([ASKED])
            said = _greedy(scorer, served)
        candidate.close()
    except (Unsupported, UserError) as error:
        return Cell(str(error))
    return Cell(None, said, nats, next(iter(candidate.applied()), None))
