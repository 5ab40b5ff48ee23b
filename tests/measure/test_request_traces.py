"""Traces of other services' requests, and what is wrong with them."""

import json
import random
from itertools import islice, pairwise
from math import exp, log
from pathlib import Path
from statistics import NormalDist, fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as some

from greenbench.errors import UserError
from greenbench.measure.request_traces import BURSTS, RequestTrace, Row, load

OURS = "# a comment\n\ntime_s,prompt_tokens,output_tokens\n10.5,5,7\n11,6,8\n13.5,7,9\n"
AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    "2023-11-16 18:17:03.9799600,5,7\r\n2023-11-16 18:17:04.4799600,6,8\r\n"
    "2023-11-16 18:17:06.9799600,7,9\r\n"
)
AZURE_2024 = AZURE.replace("9799600", "979960+00:00").replace("4799600", "479960+00:00")
MOONCAKE = "".join(
    json.dumps({"timestamp": ms, "input_length": 5 + n, "output_length": 7 + n, "hash_ids": [n]})
    + "\n"
    for n, ms in enumerate((27_000, 27_500, 30_000))
)


def trace(tmp_path, text):
    path = tmp_path / "mine.csv"
    path.write_text(text, newline="")
    return path


@pytest.mark.parametrize("text", [OURS, AZURE, AZURE_2024, MOONCAKE, "\ufeff" + OURS[12:]])
def test_every_form_says_the_same(tmp_path, text):
    found = load(trace(tmp_path, text))
    assert [row[1:] for row in found.rows] == [(5, 7), (6, 8), (7, 9)]
    assert [row.at_s for row in found.rows] == pytest.approx([0, 0.5, 3], abs=1e-5)
    assert found.period_s == pytest.approx(4.5, abs=1e-5)
    assert found.rate == pytest.approx(3 / 4.5, abs=1e-5)
    assert (found.median_prompt, found.median_output) == (6, 8)


HEADER = "time_s,prompt_tokens,output_tokens\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "mine.csv has no requests: give a CSV"),
        ("# nothing\n", "has no requests"),
        (HEADER, "needs two requests or more"),
        (HEADER + "1,5,5\n", "needs two requests or more"),
        (HEADER + "1,5,5\n1,5,5\n", "at different times"),
        ("a,b,c\n1,2,3\n", "header of no known form: give a CSV"),
        (
            HEADER + "1,5,5\n3,5,5\n\n2,5,5\n",
            "Line 5 of the trace mine.csv is earlier than the line before",
        ),
        (
            HEADER + "1,5,5\nsoon,5,5\n",
            "Line 3 .* has the time_s 'soon', which is no time: write it as in 12.5",
        ),
        (HEADER + "1,5,5\nnan,5,5\n", "Line 3 .* 'nan'"),
        (HEADER + "1,5,5\n2,5\n", "Line 3 .* has output_tokens None: allowed is a whole number"),
        (HEADER + "1,5,5\n2,0,5\n", "Line 3 .* has prompt_tokens '0'"),
        (HEADER + "1,5,5\n2,5,-1\n", "Line 3 .* has output_tokens '-1'"),
        (HEADER + "1,5,5\n2,5.5,1\n", "Line 3 .* has prompt_tokens '5.5'"),
        (HEADER + "1,5,5\n2,inf,1\n", "Line 3 .* has prompt_tokens 'inf'"),
        (
            AZURE.replace("2023-11-16 18:17:04", "yesterday"),
            "Line 3 .* has the TIMESTAMP 'yesterday",
        ),
        (MOONCAKE + "{broken\n", "Line 4 .* is no JSON object"),
        (MOONCAKE + "[1]\n", "Line 4 .* is no JSON object"),
        (MOONCAKE + "{}\n", "Line 4 .* has the timestamp None"),
        (
            MOONCAKE.replace('"input_length": 6', '"input_length": true'),
            "Line 2 .* has input_length True",
        ),
        (
            MOONCAKE.replace('"timestamp": 27500', '"timestamp": [1]'),
            r"Line 2 .* has the timestamp \[1\]",
        ),
        (MOONCAKE + '{"timestamp": ' + 100_000 * "[" + "\n", "Line 4 .* is no JSON object"),
        (HEADER + "0,5,5\n1e-6,5,5\n", "has over 100000 requests per second"),
        (HEADER + "0,5,5\n1e-320,5,5\n", "has over 100000 requests per second"),
        (HEADER + "0,5,5\n1e308,5,5\n", r"lasts 1e\+308 s, and 1e\+09 s is the most"),
        (HEADER + "-1e308,5,5\n1e308,5,5\n", "lasts inf s, and"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_with_its_line(tmp_path, text, said):
    with pytest.raises(UserError, match=said) as error:
        load(trace(tmp_path, text))
    assert str(error.value).endswith(".")
    assert str(tmp_path) not in str(error.value)


def test_a_trace_may_be_as_dense_as_the_densest_load(tmp_path):
    text = HEADER + "".join(f"{n / 100_000},5,5\n" for n in range(9))
    assert load(trace(tmp_path, text)).rate == pytest.approx(100_000)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"gone.csv cannot be read \(No such file"):
        load(tmp_path / "gone.csv")
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "raw").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="raw cannot be read"):
        load(tmp_path / "raw")


ROWS = some.lists(some.floats(0.01, 5), min_size=1, max_size=12)


@given(ROWS, some.integers(0, 99), some.floats(0.01, 50))
def test_it_repeats_seamlessly_at_any_rate(gaps, seed, rate):
    """A turn after any request comes the same request, and every turn has all of them."""
    rows, at_s = [Row(0.0, 1, 1)], 0.0
    for number, gap in enumerate(gaps, 2):
        at_s += gap
        rows.append(Row(at_s, number, number))
    one = RequestTrace(rows).at(rate)
    assert one.rate == pytest.approx(rate)
    many = list(islice(one.endless(random.Random(seed)), 3 * len(rows)))
    assert all(a.at_s <= b.at_s + 1e-9 for a, b in pairwise(many))
    assert many[0].at_s >= 0
    for a, b in zip(many, many[len(rows) :], strict=False):
        assert a.prompt_tokens == b.prompt_tokens
        assert b.at_s - a.at_s == pytest.approx(one.period_s)
    plain = list(islice(RequestTrace(rows).endless(random.Random(seed)), 3 * len(rows)))
    assert [row.prompt_tokens for row in plain] == [row.prompt_tokens for row in many]


def test_it_starts_at_any_moment_alike():
    """So the expected count of a window is its length times the rate."""
    one = RequestTrace([Row(0, 1, 1), Row(1, 2, 2), Row(9, 3, 3)])
    counts = [
        sum(row.at_s < 4 for row in islice(one.endless(random.Random(seed)), 20))
        for seed in range(4000)
    ]
    assert fmean(counts) == pytest.approx(4 * one.rate, abs=4 * pstdev(counts) / 4000**0.5)


def exponential(dice, mean):
    return -mean * log(1 - dice.random())


def tokens(dice):
    return min(max(round(64 * exp(0.6 * NormalDist().inv_cdf(dice.random()))), 8), 256)


def synthetic():
    """The rows of the trace that comes with GreenBench, as its head says."""
    dice, states, state = random.Random(17), ((0.5, 8.0), (5.0, 2.0)), 0
    now_s, until_s = 0.0, exponential(dice, 8.0)
    while True:
        gap_s = exponential(dice, 1 / states[state][0])
        if now_s + gap_s < until_s:
            now_s += gap_s
            yield now_s, tokens(dice), tokens(dice)
        else:
            now_s, state = until_s, 1 - state
            until_s += exponential(dice, states[state][1])


def test_the_trace_that_comes_with_greenbench_is_what_its_head_says():
    made = list(islice(synthetic(), 200))
    lines = [f"{at_s - made[0][0]:.3f},{prompt},{output}" for at_s, prompt, output in made]
    text = Path(BURSTS).read_text()
    assert [line for line in text.splitlines() if line[0] != "#"][1:] == lines
    found = load()
    gaps = [b.at_s - a.at_s for a, b in pairwise(found.rows)]
    assert pstdev(gaps) / fmean(gaps) > 1.3  # bursts: poisson's is 1
    assert (found.median_prompt, found.median_output) == (61, 62)
