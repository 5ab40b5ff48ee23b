"""Digits follow the interval, reasons follow what is missing, and no string is trusted."""

from __future__ import annotations

import pytest
from helpers import examples
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from greenbench.report.markdown.format import Column, Notes, code, fenced, prose, show, table
from greenbench.schema.quantity import Quantity, missing
from greenbench.wording import number

HOSTILE = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="|`*_[]()<>!\\#-+=~$&:/.@w 1ab\n\r\t\x1b\x00\u202e\u200b", max_size=60),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "[x](javascript:alert(1))",
            "![x](http://evil.example/x.png)",
            "a|b|c\n|---|",
            "</details><h1>x",
            "<!-- x",
            "<?x",
            "<![CDATA[x",
            "<a href=http://evil.example",
            "```\n# out",
            "http://evil.example www.evil.example <http://evil.example>",
            "&lt;b&gt; &amp;",
            "$\\frac{1}{2}$",
            "1. x",
            "- x",
            "# x",
            "---",
        ]
    ),
)


def parse(markdown: str) -> list:
    """Tokens of GitHub-like markdown, inline tokens among them, in document order."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        found += [token, *(token.children or [])]
    return found


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (0.6312, 0.031, "0.63"),
        (0.6312, 0.013, "0.631"),
        (61.24, 2.4, "61"),
        (1234.5, 87, "1234"),
        (0.0123, None, "0.0123"),
        (0, None, "0"),
        (-0.5, 0.3, "−0.5"),
        (-0.001, 0.3, "0.0"),
        (1e-7, 4e-9, "0.000000100"),
    ],
)
def test_digits_are_those_the_interval_supports(value, half, text):
    assert number(value, half) == text


def test_an_interval_is_shown_with_the_digits_of_its_value():
    assert show(examples.quantity(0.6312, 0.031, "ratio"), suffix="×") == "0.63× (0.60–0.66)"
    change = examples.quantity(-0.41, 0.8, "points")
    assert show(change, change=True) == "−0.4 (−1.2 to +0.4)"


def test_an_estimate_is_marked_wherever_it_is_shown():
    assert show(examples.quantity(2, 0.3, "J", examples.ESTIMATE)) == "≈2.0 (1.7–2.3)"
    assert not show(examples.quantity(2, 0.3, "J", examples.NVML)).startswith("≈")


def test_what_is_missing_is_na_with_its_reason_never_zero():
    notes = Notes()
    assert show(missing("J", "no meter answered"), notes) == "n/a (a)"
    assert show(examples.quantity(2.0, None, "J"), notes) == "2.00 (b)"
    assert show(missing("J", "no meter answered"), notes) == "n/a (a)"
    assert notes.legend() == ["(a) no meter answered", f"(b) {examples.ONE}"]
    assert show(missing("J", "no meter answered")) == "n/a (no meter answered)"


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e5), st.floats(1e-3, 1e5))
def test_rounding_hides_less_than_a_third_of_the_interval(value, below, above):
    bounds = {"low": value - below, "high": value + above}
    quantity = Quantity(value=value, unit="J", provenance="measured:clock", n=5, **bounds)
    read = float(show(quantity).split()[0].replace("−", "-"))
    assert read == pytest.approx(value, abs=min(below, above) / 3, rel=1e-5)


@given(HOSTILE)
def test_prose_is_text_and_nothing_else(text):
    tokens = parse(f"before {prose(text)} after\n\n- {prose(text)}\n\n**{prose('x' + text)}**")
    kinds = {token.type for token in tokens if token.type != "text_special"}
    assert kinds <= {
        "paragraph_open", "paragraph_close", "inline", "text", "bullet_list_open",
        "bullet_list_close", "list_item_open", "list_item_close", "strong_open", "strong_close",
    }  # fmt: skip
    assert sum(token.type == "bullet_list_open" for token in tokens) == 1


@given(HOSTILE)
def test_prose_has_nothing_github_would_link(text):
    assert "://" not in prose(text)
    assert "www." not in prose(text).lower()
    assert "@" not in prose(text)


@given(HOSTILE)
def test_a_code_span_stays_one_code_span(text):
    tokens = parse(f"before {code(text)} after")
    assert [token.type for token in tokens if token.type not in {"text"}] == [
        "paragraph_open", "inline", "code_inline", "paragraph_close",
    ]  # fmt: skip


@given(st.lists(HOSTILE, max_size=4))
def test_a_fence_is_not_closed_by_what_it_holds(lines):
    tokens = parse("\n".join([*fenced(lines), "", "after"]))
    assert [token.type for token in tokens][:1] == ["fence"]
    assert tokens[-2].content == "after"


def test_a_fence_keeps_indentation_and_drops_colours():
    assert fenced(["\x1b[31m  at line 1\x1b[0m"])[1] == "  at line 1"


@given(st.lists(st.tuples(HOSTILE, HOSTILE), min_size=1, max_size=4))
def test_a_table_keeps_its_rows_and_columns(rows):
    columns = [
        Column("name", lambda row, _: code(row[0])),
        Column("why", lambda row, notes: f"{prose(row[1])} {notes.mark(row[1])}"),
    ]
    tokens = parse("\n".join([*table(rows, columns), "", "after"]))
    kinds = [token.type for token in tokens]
    assert kinds.count("tr_open") == 1 + len(rows)
    assert kinds.count("td_open") == 2 * len(rows)
    assert not {"html_inline", "html_block", "link_open", "image"} & set(kinds)
