"""One technique on one checkpoint: everything that a run does with it but measuring."""

from contextlib import suppress
from dataclasses import fields, replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

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
from greenbench.models import files, texts
from greenbench.run.preflight import refuse_here, refuse_model
from greenbench.run.prepare import Candidate
from greenbench.run.workbench import Place
from greenbench.schema.enums import Stop
from greenbench.schema.technique import AppliedTechnique
from greenbench.techniques import AnswerSetting, EngineOption, Replacement
from helpers.techniques import CPU, OPTIONS, SMALLER, stack

TABLE = Path(__file__).parents[2] / "docs" / "architectures.md"
"""What is known to run, and what is refused; `tools/matrix.py` writes it."""
TEXTS = 200
BARE = {"dtype": ["technique.dtype.to=bfloat16"]}
"""What an option needs that has no default."""
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
    """Every technique that changes a model or how it runs, and runs on a CPU, by name."""
    found = []
    for option in OPTIONS:
        (technique,) = stack(option)
        # By a template, which these models have not, or by files that somebody has made of each.
        asks = isinstance(technique, AnswerSetting | Replacement)
        elsewhere = asks or (isinstance(technique, EngineOption) and technique.other())
        if technique.name == option and not elsewhere:
            with suppress(Unsupported):
                technique.check(CPU, Transformers())
                found.append(option)
    return found


@cache
def _composed(option):
    """The run of `option` on a model in a directory: composing takes longer than a cell."""
    words = ["model=local", "model.path=.", "model.dtype=float32", f"technique={option}"]
    return plan([*words, *BARE.get(option, [])], multirun=False)[0].spec


def _brief(option, directory):
    """The run with the checkpoint in `directory`, whose preparation is short."""
    spec = _composed(option)
    model = replace(spec.model, name=directory.name, path=str(directory))
    stack = {name: replace(t, **_knobs(t, directory)) for name, t in spec.technique.items()}
    return replace(spec, model=model, technique=stack)


def _knobs(technique, directory):
    known = {knob.name for knob in fields(technique)}
    brief = {name: value for name, value in BRIEF.items() if name in known}
    draft = {"draft": str(directory)} if technique.name == "speculative" else {}
    return brief | SMALLER.get(technique.name, {}) | draft


def _greedy(served):
    """The tokens that it generates."""
    prompt = torch.tensor([served.tokenizer.encode(TEXT)])
    generate = served._loop or served._model.generate
    config = GenerationConfig(do_sample=False, min_new_tokens=NEW_TOKENS, max_new_tokens=NEW_TOKENS,
                              pad_token_id=0)  # fmt: skip
    with torch.inference_mode():
        output = generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=config)
    return tuple(output[0, prompt.shape[1] :].tolist())


def cell(directory: Path, option: str) -> Cell:
    """Prepare `option` on the checkpoint in `directory`, generate and score with what it leaves.

    The decode step that `compile` traces runs uncompiled: kernels are the same for all architectures, and
    take half a minute.
    """
    traced = partial(torch.compile, backend="eager")
    few = partial(_few, texts.passages)
    with patch.object(torch, "compile", traced), patch.object(texts, "passages", few):
        return _cell(_brief(option, directory), directory)


def _few(passages, split):
    return passages(split)[:TEXTS]


def _cell(spec, directory):
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
            said = _greedy(served)
        candidate.close()
    except (Unsupported, UserError) as error:
        return Cell(str(error))
    return Cell(None, said, nats, next(iter(candidate.applied()), None))
