"""Tokens are drawn as often as they are likely."""

import pytest
import torch

from greenbench.engines.transformers.drawing import drawn
from greenbench.engines.writing import Draw

SHARES = torch.tensor([0.6, 0.25, 0.1, 0.05])
SEEDS = 4000


def counts(temperature=1.0, top_p=1.0, top_k=0):
    """How often each of four tokens is drawn, a row each seed."""
    draws = [Draw(temperature, top_p, top_k, seed) for seed in range(SEEDS)]
    process = drawn(draws, prompt=1)
    ids = torch.zeros(SEEDS, 3, dtype=torch.long)
    scores = process(ids, SHARES.log().repeat(SEEDS, 1))
    return torch.bincount(scores.argmax(dim=-1), minlength=4) / SEEDS


@pytest.mark.parametrize(
    ("how", "shares"),
    [
        ({}, SHARES),
        ({"temperature": 0.5}, SHARES**2 / (SHARES**2).sum()),
        ({"top_k": 2}, torch.tensor([0.6, 0.25, 0, 0]) / 0.85),
        ({"top_p": 0.8}, torch.tensor([0.6, 0.25, 0, 0]) / 0.85),
    ],
)
def test_shares_are_those_of_the_model(how, shares):
    found = counts(**how)
    doubt = 3.5 * (shares * (1 - shares) / SEEDS).sqrt()
    assert ((found - shares).abs() <= doubt).all()


def test_the_place_of_a_token_changes_its_noise():
    process = drawn([Draw(1.0, 1.0, 0, 7)], prompt=1)
    first, second = (
        process(torch.zeros(1, length, dtype=torch.long), torch.zeros(1, 50)) for length in (1, 2)
    )
    again = process(torch.ones(1, 1, dtype=torch.long), torch.zeros(1, 50))
    assert not torch.equal(first, second)
    assert torch.equal(first, again)
