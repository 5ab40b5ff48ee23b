"""How answers are drawn, as the model's own configuration says."""

import json
from dataclasses import replace

import pytest

from greenbench.campaign.compose import plan
from greenbench.errors import Unsupported
from greenbench.run.posing import drawing, drawn

SPEC = plan(["task=answers", "task.sampling=model"], multirun=False)[0].spec


def said(tmp_path, **config):
    (tmp_path / "generation_config.json").write_text(json.dumps(config))
    return drawn(SPEC, tmp_path)


def test_what_is_said_is_taken_and_the_rest_is_transformers_own(tmp_path):
    assert said(tmp_path, do_sample=True, temperature=0.6) == {
        "temperature": 0.6, "top_p": 1.0, "top_k": 50,
    }  # fmt: skip
    assert said(tmp_path, do_sample=True, top_k=0, top_p=0.9)["top_k"] == 0  # all tokens
    assert said(tmp_path, do_sample=True, top_k=None)["top_k"] == 50


def test_a_model_that_does_not_draw_is_greedy(tmp_path):
    assert drawn(SPEC, tmp_path) is None
    assert said(tmp_path, temperature=0.6) is None
    greedy = replace(SPEC, task=replace(SPEC.task, sampling=type(SPEC.task.sampling).greedy))
    assert drawing(greedy, tmp_path)(3) is None


def test_each_item_has_its_seed(tmp_path):
    said(tmp_path, do_sample=True)
    draw = drawing(SPEC, tmp_path)
    assert draw(3) == draw(3) != draw(4)


@pytest.mark.parametrize("more", [{"min_p": 0.1}, {"repetition_penalty": 1.05}])
def test_what_draws_otherwise_is_refused(tmp_path, more):
    with pytest.raises(
        Unsupported, match=rf"says {next(iter(more))} too: say task.sampling=greedy"
    ):
        said(tmp_path, do_sample=True, **more)
    assert said(tmp_path, do_sample=True, min_p=0.0, repetition_penalty=1.0)
