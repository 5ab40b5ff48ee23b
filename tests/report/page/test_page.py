"""The page as its readers find it: in a browser, from disk, with the keyboard, on a telephone."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import random
import re
import shutil
from functools import cache
from html.parser import HTMLParser

import pytest
from helpers import campaign, examples, factory, graded, loads
from hypothesis import given
from hypothesis import strategies as st

from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions, surroundings
from greenbench.analysis.yardstick import ENERGY, SPEED
from greenbench.records.store import Rejected
from greenbench.report.exports.long_table import FORMULA, harmless
from greenbench.report.markdown.format import Notes, show
from greenbench.report.markdown.sections.headline_table import loss_sign, sign
from greenbench.report.markdown.sections.impact import per_queries
from greenbench.report.markdown.shifting import waiting
from greenbench.report.page.glossary import PLAIN, TERMS
from greenbench.report.page.page import embedded, page
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S
from greenbench.schema.record import MeterChoice, Waiting
from greenbench.wording import TIMES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = (
    "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=2'>"
    "<!--<script> ${window.hacked=3} @DATA@ $data \u2028 & &lt; ' \" ` \\ 漢字 javascript:alert(1)"
)
AWQ = examples.failed("awq")
RECORDS = [
    *campaign.group(),
    examples.completed("int8", speed=0.4, source=examples.ESTIMATE, device=examples.CPU),
    examples.completed("int8", tier="smoke"),
    examples.completed("lost", energy=None, reason="the counter stood still"),
    AWQ,
]
REJECTED = [Rejected("b.json", "It is not JSON, or was cut short.")]


def written(records=RECORDS, rejected=()):
    return page(groups(records), records, rejected, assumptions()).decode()


@cache
def example():
    """The page of `RECORDS` and `REJECTED`, made once."""
    return page(example_groups(), RECORDS, REJECTED, assumptions()).decode()


@cache
def example_groups():
    return groups(RECORDS)


class Elements(HTMLParser):
    """Every element with its attributes, and the text of scripts, styles and all else."""

    def __init__(self, text):
        super().__init__()
        self.found, self.texts, self.inside = [], [], False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.texts.append("")
        self.inside = True

    def handle_endtag(self, _):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.texts[-1] += data

    def texts_of(self, wanted, **attributes):
        return [
            text
            for (tag, given), text in zip(self.found, self.texts, strict=True)
            if tag == wanted and attributes.items() <= given.items()
        ]


def data_of(text):
    (data,) = Elements(text).texts_of("script", type="application/json")
    return json.loads(data)


def scripts_of(text):
    found = Elements(text)
    pairs = zip(found.found, found.texts, strict=True)
    return [script for (tag, given), script in pairs if tag == "script" and "type" not in given]


def poisoned():
    """Records whose every free string is hostile."""
    evil = {"name": HOSTILE, "command": HOSTILE, "started_at": HOSTILE}
    spec = examples.spec(
        HOSTILE,
        model=dict.fromkeys(("name", "id", "revision", "license", "note"), HOSTILE),
        task={"names": [HOSTILE]},
        workload={"name": HOSTILE},
        device={"kind": HOSTILE, "name": HOSTILE},
    )
    part = factory.record().techniques[0].model_copy(
        update={"name": HOSTILE, "summary": HOSTILE, "details": {HOSTILE: [HOSTILE, 1.5, None]}}
    )  # fmt: skip
    full = examples.completed(
        **evil,
        spec=spec,
        environment={HOSTILE: {HOSTILE: [HOSTILE, float("nan"), float("inf")]}},
        model=factory.record().model.model_copy(update={"note": HOSTILE, "license": HOSTILE}),
        techniques=[part],
        meter=MeterChoice(used=[HOSTILE], refused={HOSTILE: HOSTILE}),
        quality=[examples.score(HOSTILE, 1, 2)],
        validity="flagged",
        codes=[HOSTILE],
    )
    failure = factory.failed().failure.model_copy(
        update={"message": HOSTILE, "phase": HOSTILE, "log_tail": [HOSTILE]}
    )
    invalid = full.model_copy(update={"validity": "invalid"})
    lost = examples.completed(**evil, spec=spec, energy=None, reason=HOSTILE)
    return [full, lost, invalid, examples.failed(**evil, spec=spec, failure=failure)]


def test_the_same_records_in_any_order_give_the_same_bytes():
    for seed in range(2):
        shuffled = random.Random(seed).sample(RECORDS, len(RECORDS))
        assert written(shuffled, REJECTED) == example()


def test_nothing_in_it_is_loaded_from_anywhere():
    text = written(RECORDS + poisoned())
    found = Elements(text)
    outward = {"src", "srcset", "href", "data", "action", "background", "poster"}
    references = [(tag, a[n]) for tag, a in found.found for n in outward & a.keys()]
    inside = {f"#{given['id']}" for _, given in found.found if "id" in given}
    assert {tag for tag, _ in references} == {"a"}
    assert {place for _, place in references} <= inside
    assert not {"link", "img", "iframe", "object", "embed", "base"} & {
        tag for tag, _ in found.found
    }
    (style,) = found.texts_of("style")
    assert not re.search(r"url\(|@import", style)
    ours = scripts_of(text)[-1]
    assert not re.search(r"https?:|import\(|fetch\(|XMLHttpRequest|innerHTML|eval\(", ours)


def test_nothing_on_it_moves_by_itself():
    (style,) = Elements(example()).texts_of("style")
    assert not re.search(r"transition|animation|@keyframes|[^r]scroll-behavior", style)


def test_its_policy_lets_only_its_own_scripts_run():
    text = example()
    (policy,) = (
        attributes["content"]
        for tag, attributes in Elements(text).found
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts_of(text))
    assert rules["script-src"].split() == [
        f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests
    ]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_data_can_end_its_element(data):
    text = embedded(data)
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads(text) == data


def test_hostile_strings_add_no_element():
    evil = Elements(written(poisoned(), [Rejected(HOSTILE, HOSTILE)])).found
    known = Elements(example()).found
    assert {tag for tag, _ in evil} <= {tag for tag, _ in known}
    for tag in ("script", "style", "a", "button", "p", "section"):
        assert sum(tag == each for each, _ in evil) <= sum(tag == each for each, _ in known)
    assert not [name for _, given in evil for name in given if name.startswith("on")]


def test_it_is_small_and_keeps_neither_traces_nor_answers():
    assert len(written([])) < 600_000
    big = campaign.run("big", 0.7).model_copy(
        update={"quality": [examples.score("sciq", 1, 2, n=2000, right=900)]}
    )
    small = big.model_copy(update={"quality": [examples.score("sciq", 1, 2)]})
    assert abs(len(written([big])) - len(written([small]))) < 600


def test_runs_stand_where_the_leaderboard_has_them():
    data, found = data_of(example()), example_groups()
    for group, there in zip(found, data["groups"], strict=True):
        assert [data["runs"][n]["label"] for n in there["runs"]] == [r.label for r in group.rows]
        assert there["source"] == group.setting.source
    left = [run["label"] for run in data["runs"] if run["group"] == -1]
    assert left == ["awq", "broken"]


def test_the_figure_has_the_frontier_of_the_tables():
    data, found = data_of(example()), example_groups()
    for group, there in zip(found, data["groups"], strict=True):
        members = [
            number for number, row in zip(there["runs"], group.rows, strict=True) if row.frontier
        ]
        by_ratio = {axis["ratio"]: axis["members"] for axis in there["axes"]}
        assert by_ratio.get(group.axis.ratio, []) == members


def test_strings_that_markdown_would_set_are_told_as_they_are():
    part = written(poisoned()).partition('id="answers"')[2].partition("words-of-tables")[0]
    texts = Elements(f"<div>{part}").texts
    assert any("<script>window.hacked=1</script>" in text for text in texts)
    assert not [text for text in texts if "&lt;" in text.replace("& &lt;", "") or "\\<" in text]


KINDS = {
    "all kinds of joules": lambda: RECORDS,
    "graded answers": lambda: [graded.run("saver"), graded.run("talker", tokens=90)],
    "requests that arrive": lambda: [loads.completed()],
    "eager beside compiled": lambda: [
        examples.against("compiled", "draft", 1.31, "a loop"),
        examples.against("eager", "draft", 0.62, "a loop"),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_heading_leads_to_what_it_means_without_scripts_too(kind):
    text = written(KINDS[kind]())
    entries = {given["id"] for _, given in Elements(text).found if "id" in given}
    heads = re.findall(r'<th scope="col">(.*?)</th>', text)
    assert len(set(heads)) > 12
    for head in heads:
        title, _, linked = head.partition('<a class="term" href="#')
        assert linked.partition('"')[0] in entries or title in PLAIN, title
    captions = re.findall(r"<caption>\d+\. .*?</caption>", text)
    assert captions
    for caption in captions:
        assert re.findall(r'href="#([\w-]+)"', caption) == ["term-provenance", "term-tier"]
    assert {f"term-{entry}" for _, entry in TERMS} <= entries


def test_the_first_table_has_seven_lines_at_most():
    """However many settings there are: the others have theirs behind a fold."""
    many = [
        examples.completed(workload={"name": f"w{at}", "prompt_tokens": at + 8}) for at in range(9)
    ]
    first, _, folded = written(many).partition("What to choose in each of these")
    lines = (
        first.partition('<div id="answers">')[2].partition("<tbody>")[2].partition("</tbody>")[0]
    )
    assert lines.count("<tr>") == 7
    assert "2 more settings have their tables below." in first
    assert folded.partition("</details>")[0].count("<table>") == 9


def test_rows_of_nothing_but_noise_are_grey_without_scripts():
    table = written().partition('<div id="groups">')[2].partition("</table>")[0]
    grey = re.findall(r'<tr class="noise"><th scope="row"><code>(\w+)', table)
    data = data_of(written())
    noisy = [run["label"] for run in data["runs"] if run["group"] == 0 and run["noise"]]
    assert grey == noisy
    assert "same" in grey
    assert "saver" not in grey


# In a browser


@pytest.fixture(scope="module")
def browser():
    sync = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    if not CHROMIUM:
        pytest.skip("no Chromium here: apt-get install chromium, as .ci/run does")
    with sync.sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page from disk; in the end no complaint and no request may have come of it."""
    complaints, contexts = [], []

    def open_page(text=None, width=1600, **options):
        path = tmp_path / "index.html"
        path.write_text(text or example())
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(30_000)
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: complaints.append(request.url))
        tab.goto(path.as_uri())
        assert complaints == [path.as_uri()]
        complaints.clear()
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def labels(tab, table=0):
    """Names in the rows of a table of runs."""
    return tab.locator(".runs").nth(table).locator("button.open").all_inner_texts()


def cells(tab, label, table=0):
    row = (
        tab.locator(".runs")
        .nth(table)
        .locator("tr", has=tab.get_by_role("button", name=label, exact=True))
    )
    return row.locator("td").all_inner_texts()


def test_it_says_what_leaderboard_md_says_first(opened):
    tab = opened()
    line = tab.locator("#answers tr", has_text="saver").first.inner_text()
    assert "0.700× (0.698–0.702)" in line
    assert "shown" in line
    assert tab.inner_text("#count") == "11 of 11 runs shown."


def test_each_group_says_whether_its_joules_are_measured(opened):
    tab = opened()
    badges = tab.locator("#groups .badge").all_inner_texts()
    assert badges == ["measured", "≈ estimated, not measured", "no joules", "measured"]
    assert cells(tab, "int8", 1)[1].startswith("▲ ≈")
    assert not any("≈" in cell for cell in cells(tab, "saver", 0))


def test_runs_without_numbers_stand_apart_with_their_reasons(opened):
    tab = opened()
    assert (
        "throttled: heat or a power brake"
        in tab.locator("section", has_text="Invalid runs").last.inner_text()
    )
    assert "killed in stage measure: It was killed by SIGSEGV." in tab.inner_text("#left-out")
    assert "It is not JSON, or was cut short." in tab.inner_text("#left-out")
    missing = tab.locator("#groups section").nth(2)
    assert "n/a (a)" in missing.inner_text()
    assert "(a) the counter stood still" in missing.inner_text()


def test_a_title_sorts_up_then_down_then_as_it_was(opened):
    tab = opened()
    first = labels(tab)
    title = tab.locator(".runs").first.get_by_role("button", name="J/token ratio")
    for order, expected in (
        ("ascending", ["saver", "capped", "unsure", "none", "same", "coster"]),
        ("descending", ["coster", "same", "none", "unsure", "capped", "saver"]),
        (None, first),
    ):
        title.focus()
        tab.keyboard.press("Enter")
        assert labels(tab) == expected
        head = tab.locator(".runs").first.locator("th", has_text="J/token ratio")
        assert head.get_attribute("aria-sort") == order
        assert tab.evaluate("document.activeElement.innerText").startswith("J/token ratio")


def test_a_run_under_load_shows_its_table_its_picture_and_all_numbers(opened):
    tab = opened(written([loads.completed()]))
    tab.get_by_role("button", name="int4", exact=True).click()
    dialog = tab.locator("#dialog")
    assert "40.8 → 33.0" in dialog.locator("table").first.inner_text()
    assert "The winner changes at 2.9 (2.6–3.2) requests/s" in dialog.inner_text()
    picture = dialog.locator("img.sketch")
    picture.wait_for()
    assert (
        picture.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }")
        > 0
    )
    dialog.get_by_text("All numbers at 2 requests/s").first.click()
    assert "J/request, marginal" in dialog.inner_text()


def test_stacks_beside_their_techniques_alone_have_a_table_and_a_picture(opened):
    saved = {"a": 0.7, "b": 0.9, "a + b": 0.68}
    tab = opened(written([examples.completed(name, energy=j) for name, j in saved.items()]))
    assert "they overlap" in tab.locator("main").inner_text()
    picture = tab.get_by_role("img", name="What techniques save alone and in a stack")
    seen = "async (image) => { await image.decode(); return image.naturalWidth; }"
    assert picture.evaluate(seen) > 0


def test_what_is_missing_sorts_last_either_way(opened):
    tab = opened()
    title = tab.locator(".runs").first.get_by_role("button", name="energy label")
    for _ in range(2):
        title.click()
        assert set(labels(tab)[-2:]) == {"saver", "unsure"}


@pytest.fixture
def unscripted(browser, tmp_path):
    """Opens the page without scripts."""
    contexts = []

    def open_page(width=1600):
        path = tmp_path / "index.html"
        path.write_text(example())
        viewport = {"width": width, "height": 900}
        contexts.append(browser.new_context(java_script_enabled=False, viewport=viewport))
        tab = contexts[-1].new_page()
        tab.set_default_timeout(30_000)
        tab.goto(path.as_uri())
        return tab

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", [375, 1600])
def test_it_shows_what_to_choose_and_the_first_tables_without_scripts(unscripted, width):
    tab = unscripted(width)
    choice = tab.locator("#answers table").nth(2)  # after one for each measure
    assert "points of quality" in choice.text_content()
    runs = tab.locator("#groups table").first
    for row in example_groups()[0].rows:
        assert row.label in runs.inner_text()
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert tab.evaluate(wide) == 0
    if width == 375:
        for still in tab.locator(".still").all():
            assert still.evaluate("box => box.scrollWidth <= box.clientWidth")


def test_nothing_that_needs_scripts_is_there_without_them(unscripted):
    tab = unscripted()
    for control in tab.locator("button, input, select").all():
        assert not control.is_visible()
    assert not tab.get_by_text("The frontier: quality against energy").is_visible()


def test_a_term_opens_what_it_means_without_scripts(unscripted):
    tab = unscripted()
    assert not tab.locator("#term-sure").is_visible()
    tab.locator("#answers a.term[href='#term-sure']").first.click()
    tab.locator("#term-sure").wait_for()
    assert tab.url.endswith("#term-sure")


def test_noise_is_grey_without_scripts(unscripted):
    def ink(label):
        row = unscripted_runs.locator("tbody tr", has_text=re.compile(rf"^{label}"))
        return row.locator("td").first.evaluate("cell => getComputedStyle(cell).color")

    unscripted_runs = unscripted().locator("#groups table").first
    assert ink("same") != ink("saver") == ink("coster")


def test_a_telephone_shows_technique_quality_energy_and_speed_without_scrolling(opened):
    tab = opened(width=375)
    box = tab.locator(".runs .scroll").first
    assert box.evaluate("box => box.scrollWidth <= box.clientWidth")
    heads = tab.locator(".runs thead").first.locator("th:visible").all_inner_texts()
    assert [re.sub("[\\s↕?]+$", "", head) for head in heads] == [
        "technique", "quality change, points", "J/token ratio", "tokens/s ratio",
    ]  # fmt: skip
    for still in tab.locator(".still").all():
        assert still.evaluate("box => box.scrollWidth <= box.clientWidth")


def test_runs_of_one_loss_stand_together_until_they_are_sorted_otherwise(opened):
    lossy = examples.completed("lossy", energy=0.4, gained=0, lost=30)
    tab = opened(written([examples.completed("kept", gained=0, lost=0), lossy]))
    heads = tab.locator(".runs").first.locator(".band").all_inner_texts()
    assert heads == ["loses at most 1 point", "loses more"]
    tab.locator(".runs").first.get_by_role("button", name="J/token ratio").click()
    assert tab.locator(".runs").first.locator(".band").count() == 0


def test_other_filters_narrow_too(opened):
    tab = opened()
    tab.select_option("#device", "Imaginary CPU (cpu)")
    assert labels(tab) == ["int8"]
    tab.select_option("#device", "")
    before = len(labels(tab))
    tab.fill("#loss", "0")
    assert 0 < len(labels(tab)) <= before
    assert tab.locator("#engine option").count() > 1
    assert tab.locator("#asked option").count() > 1


def test_the_address_keeps_the_view(opened, browser, tmp_path):
    tab = opened()
    tab.fill("#words", "capped")
    tab.select_option("#columns", "Latency and memory")
    address = tab.evaluate("location.hash")
    assert address == "#words=capped&columns=Latency+and+memory"
    tab.get_by_role("button", name="Clear").click()
    tab.locator("#count", has_text="11 of 11").wait_for()
    assert tab.evaluate("location.hash") == ""
    context = browser.new_context()
    again = context.new_page()
    again.goto(f"{(tmp_path / 'index.html').as_uri()}{address}")
    again.locator("#count", has_text="1 of 11").wait_for()
    assert labels(again) == ["capped"]
    context.close()


def look_of(tab):
    """What a reader has before him: the order, the figure, and the runs chosen."""
    return [
        labels(tab),
        tab.inner_text("#figure .caption"),
        tab.inner_text("#tray"),
        tab.locator("#figure svg").first.text_content(),
    ]


def test_the_address_keeps_order_figure_and_chosen_runs(opened, browser, tmp_path):
    tab = opened()
    usual = look_of(tab)
    for _ in range(2):
        tab.locator(".runs").first.get_by_role("button", name="J/token ratio").click()
    tab.select_option("#figure-group", "3")
    tab.select_option("#figure-axis", label="bytes of the model")
    tab.get_by_label("Compare saver").check()
    tab.get_by_label("Compare coster").check()
    tab.select_option("#columns", "All")  # which has the column too
    chosen, address = look_of(tab), tab.evaluate("location.hash")
    assert chosen[0] == ["coster", "same", "none", "unsure", "capped", "saver"]
    assert all(one != other for one, other in zip(chosen, usual, strict=True))
    again = browser.new_context(viewport={"width": 1600, "height": 900}).new_page()
    again.goto(f"{(tmp_path / 'index.html').as_uri()}{address}")
    assert look_of(again) == chosen
    assert again.get_by_label("Compare saver").is_checked()
    again.context.close()


def test_a_link_put_into_an_open_page_is_followed(opened):
    tab = opened()
    usual = look_of(tab)
    tab.get_by_label("Compare saver").check()
    tab.evaluate("location.hash = '#words=capped&sort=1:-technique&figure=9&axis=none&runs=beef'")
    tab.locator("#count", has_text="1 of 11").wait_for()
    assert labels(tab) == ["capped"]
    tab.evaluate("location.hash = '#content'")  # a part of the page, no view of it
    assert labels(tab) == ["capped"]
    tab.evaluate("location.hash = ''")
    tab.locator("#count", has_text="11 of 11").wait_for()
    assert look_of(tab) == usual


def test_the_table_can_be_had_as_a_file(opened):
    tab = opened()
    tab.fill("#words", "gpu CAPPED")
    with tab.expect_download() as waiting:
        tab.get_by_role("button", name="Download as CSV").click()
    text = waiting.value.path().read_text(encoding="utf-8-sig")
    head, line = csv.reader(text.splitlines())
    assert head[:3] == ["technique", "model, device, workload", "quality change, points"]
    assert line[0] == "capped"
    assert any("×" in cell for cell in line)


FORMULAE = [
    "-1+cmd|' /C calc'!A0",
    " =1+1",
    "\t=1",
    "a\r\nb",
    "\u200b@SUM(1)",
    "\uff0d1+cmd",
    "+1+cmd",
    "-1.5",
]


def test_nothing_in_the_file_is_run_by_a_spreadsheet_and_numbers_stay_numbers(opened):
    tab = opened(written([*map(examples.failed, FORMULAE), *RECORDS]))
    tab.select_option("#columns", "All")
    with tab.expect_download() as waiting:
        tab.get_by_role("button", name="Download as CSV").click()
    lines = list(csv.reader(waiting.value.path().read_text(encoding="utf-8-sig").splitlines()))
    assert len(lines) == 1 + len(FORMULAE) + len(RECORDS)
    told = {line[0] for line in lines}
    assert {*map(harmless, FORMULAE[:-1]), "-1.5"} <= told
    for cell in (cell for line in lines for cell in line):
        number = re.fullmatch(r"[-+]?\d+(\.\d+)?", cell)
        assert number or not cell.lstrip().startswith(FORMULA)
        assert not re.fullmatch(r"'[-+]?\d+(\.\d+)?", cell)


def test_a_term_in_a_run_closes_it_and_leads_there(opened):
    tab = opened()
    tab.locator(".runs button.open").first.click()
    tab.locator("#dialog a.term[href='#term-p']").first.click()
    assert not tab.locator("#dialog").is_visible()
    assert tab.locator("#term-p").is_visible()


def test_each_term_leads_to_what_it_means(opened):
    tab = opened()
    still = tab.locator("#answers table").first.locator("a.term").all()
    assert len(still) > 5
    for term in [*still, *tab.locator(".runs").first.locator("a.term").all()]:
        name = term.get_attribute("href").removeprefix("#")
        term.click()
        assert tab.evaluate("document.activeElement.id") == name
        assert tab.locator(f"#{name}").is_visible()


def test_each_heading_of_every_choice_of_columns_has_an_entry(opened):
    tab = opened()
    tab.select_option("#columns", "All")
    for head in tab.locator("#groups .runs").first.locator("thead th").all():
        assert head.locator("a.term").count() == 1, head.inner_text()
    for head in tab.locator("#left-out .runs thead th").all():
        title = re.sub("[\\s↕?]+$", "", head.inner_text())
        assert head.locator("a.term").count() == 1 or title in PLAIN


def test_filters_narrow_tables_and_figure_and_say_so(opened):
    tab = opened()
    tab.fill("#words", "gpu CAPPED")
    assert labels(tab) == ["capped"]
    assert tab.inner_text("#count") == "1 of 11 runs shown."
    assert tab.locator("#count").get_attribute("aria-live") == "polite"
    assert tab.locator(".targets > *").count() == 1
    tab.get_by_role("button", name="Clear").click()
    tab.locator("#count", has_text="11 of 11").wait_for()
    assert tab.locator(".targets > *").count() == 6
    tab.select_option("#outcome", "failed")
    assert labels(tab) == ["awq"]
    tab.select_option("#outcome", "")
    tab.select_option("#joules", "estimated")
    assert labels(tab) == ["int8"]
    assert "≈ estimated from CPU time" not in tab.inner_text("#figure .caption")
    tab.select_option("#figure-axis", label="J/token")
    assert "≈ estimated from CPU time" in tab.inner_text("#figure .caption")
    tab.select_option("#joules", "")
    tab.select_option("#family", "quantization")
    assert tab.inner_text("#count") == "2 of 11 runs shown."
    tab.fill("#words", "nothing has this name")
    assert tab.inner_text("#count") == "0 of 11 runs shown."


def test_other_columns_can_be_chosen(opened):
    tab = opened()
    for columns, wanted in (
        ("Quality and energy", "J/token above idle"),
        ("Latency and memory", "model, MB"),
        ("All", "idle power, W"),
    ):
        tab.select_option("#columns", columns)
        heads = tab.locator(".runs").first.locator("thead th").all_inner_texts()
        assert any(wanted in head for head in heads)
        assert tab.locator("caption", has_text=f"{columns}, group 1").count() == 1


def test_numbers_read_as_in_leaderboard_md(opened):
    draw = random.Random(1)
    base = examples.completed(energy=None)
    records, wanted = [], {}
    for index in range(60):
        value = draw.choice([10 ** draw.uniform(-3, 3), draw.randint(1, 40) / 8])
        half = draw.choice([None, value * 10 ** draw.uniform(-4, 0)])
        ratio = examples.quantity(value, half, "ratio")
        changes = {"name": f"r{index}", "ratios": base.ratios | {"tokens_per_s": ratio}}
        records.append(base.model_copy(update=changes))
        wanted[f"r{index}"] = show(ratio, Notes(), suffix=TIMES)
    tab = opened(written(records))
    body = tab.locator(".runs tbody tr").all_inner_texts()
    lines = [line.split("\t") for line in body if line.count("\t") > 3]
    speed = next(i for i, text in enumerate(lines[0]) if "×" in text)
    found = {line[0].removesuffix(" †"): re.sub("^[▲▼=] ", "", line[speed]) for line in lines}
    assert {name: re.sub(r" \(\w\)$", "", text) for name, text in found.items()} == {
        name: re.sub(r" \(\w\)$", "", text) for name, text in wanted.items()
    }


def test_tables_read_as_in_leaderboard_md(opened):
    tab = opened()
    for row in example_groups()[0].rows:
        change, energy, _, speed, *_ = cells(tab, row.label)
        assert change == f"{loss_sign(row)} {show(row.change, change=True, decimals=1)}"
        assert energy == f"{sign(row, ENERGY)} {show(row.ratio(ENERGY_PER_TOKEN), suffix=TIMES)}"
        assert speed == f"{sign(row, SPEED)} {show(row.ratio(TOKENS_PER_S), suffix=TIMES)}"


def test_impact_stands_beside_the_joules_with_what_it_assumes(opened):
    given = assumptions(["country=FRA", "currency=CHF", "pue=2"])
    tab = opened(page(example_groups(), RECORDS, REJECTED, given).decode())
    assert not tab.is_visible("#assumed")
    tab.select_option("#columns", "Impact, assumed")
    said = tab.inner_text("#assumed")
    assert "France" in said
    assert "PUE 2" in said
    assert "CHF/kWh" in said
    for row in example_groups()[0].rows:
        energy, *impacts = cells(tab, row.label)
        assert energy == show(row.energy)
        assert impacts == [show(found) for found in per_queries(row, given).values()]
    tab.locator("button.open").first.click()
    line = tab.locator("dialog tr", has_text="carbon of 1,000 queries")
    assert "assumed, from joules measured:" in line.inner_text()


def test_a_load_that_can_wait_stands_beside_the_other_impacts(opened, tmp_path):
    rows = [f"2026-01-01T{hour:02}:00:00Z,{100 + 10 * hour},1.{hour:02}" for hour in range(24)]
    (tmp_path / "grid.csv").write_text("\n".join(["time,g_per_kwh,pue", *rows]))
    given = surroundings([], tmp_path / "grid.csv")
    tab = opened(page(example_groups(), RECORDS, REJECTED, given).decode())
    assert not tab.is_visible("#waiting")
    tab.select_option("#columns", "Impact, assumed")
    tab.locator("#waiting summary").click()
    said = tab.inner_text("#waiting")
    for fact in ("assumed", "nothing is ranked by it", "grid.csv", "PUE by the hour", "23–24"):
        assert fact in said
    for row in example_groups()[0].rows:
        assert cells(tab, row.label)[-4:] == [show(each.of(row)) for each in waiting(given)]
    tab.locator("button.open").first.click()
    line = tab.locator("dialog tr", has_text="carbon of 1,000 queries, assumed: g CO₂e in the 8")
    assert "assumed, from joules measured:" in line.inner_text()


def test_a_run_is_shown_with_all_it_has(opened):
    tab = opened()
    tab.get_by_role("button", name="capped", exact=True).click()
    text = tab.inner_text("dialog")
    for fact in (
        "capped ⚑", "greenbench bench technique=capped",
        "power_capped: the power limit held the clocks back",
        "J/token\t0.800× (0.798–0.802)\t8\tmeasured:counter:nvml\tsaves", "after Holm over",
        "sciq acc_norm, %",
        "8-bit linear layers", "holds the weights of linear layers in 8 bits", "python", "3.11.7",
        "an exact count", "provenance",
    ):  # fmt: skip
        assert fact in text
    assert tab.locator("dialog table caption").count() >= 4


def test_a_run_says_what_ran_it_what_waited_and_what_was_not_scored(opened):
    other = factory.record().engine.model_copy(
        update={"name": "vllm", "probe": {"candidate": 0.01}}
    )
    waiting = Waiting(
        power=factory.idle_power(12.5),
        cpu={"candidate": factory.idle_power(0.6).model_copy(update={"unit": "CPU"})},
    )
    record = examples.completed(
        "swap", candidate_engine=other, waiting=waiting, unscored={"mgsm": "it shows no logits"}
    )
    tab = opened(written([record]))
    tab.get_by_role("button", name="swap", exact=True).click()
    text = tab.inner_text("dialog")
    for fact in (
        "engine of the candidate\n", "name vllm", "candidate 0.01", "idle power added by the second model",
        "12.5 (", "CPU time of the candidate's server", "60.0 (10.0–110.0) %",
        "not scored, mgsm\nit shows no logits",
    ):  # fmt: skip
        assert fact in text


def test_what_ran_eager_shows_both_its_ratios_where_any_did(opened):
    loop = "draft decodes by a loop of its own"
    records = [
        examples.against("compiled", "int8", 0.7),
        examples.against("compiled", "draft", 1.31, loop),
        examples.against("eager", "draft", 0.62, loop),
    ]
    tab = opened(written(records))
    compiled = next(table for table in range(2) if "int8" in labels(tab, table))
    assert "both eager" in tab.inner_text(f".runs >> nth={compiled} >> thead")
    assert cells(tab, "draft", compiled)[1].startswith("▼ 1.31×")
    assert cells(tab, "draft", compiled)[2].startswith("0.62×")
    assert cells(tab, "int8", compiled)[2].startswith("n/a")
    assert "both eager" not in opened().inner_text("#groups")


def test_the_command_can_be_copied_or_is_selected(opened):
    tab = opened()
    tab.get_by_role("button", name="saver", exact=True).click()
    tab.get_by_role("button", name="Copy").click()
    said = tab.locator("dialog .said")
    said.filter(has_text=re.compile("Copied|Selected")).wait_for()
    if "Selected" in said.inner_text():
        assert tab.evaluate("getSelection().toString()") == "greenbench bench technique=saver"


def test_two_runs_side_by_side(opened):
    tab = opened()
    tab.get_by_label("Compare saver").check()
    compare = tab.get_by_role("button", name="Compare", exact=True)
    assert compare.is_disabled()
    tab.get_by_label("Compare coster").check()
    compare.click()
    text = tab.inner_text("dialog")
    assert "J/token\t0.700× (0.698–0.702)\t1.300× (1.296–1.304)" in text
    assert "verdict on energy\tsaves\tcosts" in text
    assert "Both runs stand in one group" in text
    assert "greenbench compare records/" in text


def test_runs_of_different_groups_are_not_ranked(opened):
    tab = opened()
    tab.get_by_label("Compare saver").check()
    tab.locator(".runs").nth(1).get_by_label("Compare int8").check()
    tab.get_by_role("button", name="Compare", exact=True).click()
    assert "do not rank them by energy" in tab.inner_text("dialog")


def test_a_third_choice_replaces_the_first(opened):
    tab = opened()
    for name in ("saver", "coster", "same"):
        tab.get_by_label(f"Compare {name}").check()
    assert not tab.get_by_label("Compare saver").is_checked()
    assert "coster and same" in tab.inner_text("#tray")
    tab.locator("#tray").get_by_role("button", name="Clear").click()
    assert tab.locator("#tray").is_hidden()
    assert tab.locator("input.choose:checked").count() == 0


def point_at(tab, label):
    """Move the pointer to the middle of a run's point."""
    point = tab.locator(f'.targets > [aria-label^="{label};"]')
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    place = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.move(*place)
    return place


def test_in_a_crowd_every_point_can_be_pointed_at(opened):
    names = [f"r{index}" for index in range(12)]
    crowd = [examples.completed(n, energy=0.7 + i / 200) for i, n in enumerate(names)]
    tab = opened(written(crowd), width=400)
    for name in names:
        point_at(tab, name)
        assert tab.locator(".tip strong").inner_text() == name


def test_the_figure_tells_shows_and_opens_a_run_by_pointer(opened):
    tab = opened()
    place = point_at(tab, "saver")
    tip = tab.inner_text(".tip")
    assert "saver" in tip
    assert "0.700× (0.698–0.702)" in tip
    assert "greenbench bench technique=saver" in tip
    tab.mouse.click(*place)
    assert tab.inner_text("#dialog-title") == "saver †"


def test_the_figure_is_walked_by_keyboard(opened):
    tab = opened()
    tab.focus("#figure-axis")
    tab.keyboard.press("Tab")
    seen = []
    for key in ("ArrowRight", "ArrowRight", "End", "Home", "ArrowLeft"):
        seen.append(tab.evaluate("document.activeElement.getAttribute('aria-label')").split(";")[0])
        tab.keyboard.press(key)
    assert seen == ["saver", "capped", "unsure", "coster", "saver"]
    assert "greenbench bench technique=saver" in tab.inner_text(".tip")
    tab.keyboard.press("Escape")
    assert tab.locator(".tip").is_hidden()
    tab.keyboard.press("Enter")
    assert tab.inner_text("#dialog-title") == "saver †"
    tab.keyboard.press("Escape")
    assert tab.locator("dialog").is_hidden()
    assert tab.evaluate("document.activeElement.getAttribute('role')") == "button"


def test_the_figure_has_other_groups_axes_and_a_table(opened):
    tab = opened()
    tab.select_option("#figure-axis", label="bytes of the model")
    assert (
        "bytes of the model, ratio to the baseline"
        in tab.locator("#figure svg").first.text_content()
    )
    tab.select_option("#figure-group", "1")
    tab.select_option("#figure-axis", label="J/token")
    assert "≈ estimated from CPU time, not measured" in tab.inner_text("#figure .caption")
    tab.get_by_text("The figure's numbers as a table").click()
    assert "int8" in tab.inner_text("#figure table")


def test_kinds_of_points_differ_by_shape(opened):
    tab = opened()
    shapes = tab.locator("#figure g[aria-label=dot]:not(.targets) path")
    assert len({shapes.nth(i).get_attribute("d") for i in range(shapes.count())}) == 3


def background(tab):
    return tab.evaluate("getComputedStyle(document.body).backgroundColor")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_until_they_are_chosen(opened, scheme):
    tab = opened(color_scheme=scheme)
    before, toggle = background(tab), tab.locator("#theme")
    assert (before == "rgb(255, 255, 255)") == (scheme == "light")
    assert toggle.get_attribute("aria-pressed") == str(scheme == "dark").lower()
    assert toggle.inner_text() == f"Colours: {scheme}, as the system"
    toggle.click()
    assert toggle.inner_text() == f"Colours: {'light' if scheme == 'dark' else 'dark'}"
    assert background(tab) != before
    assert toggle.get_attribute("aria-pressed") == str(scheme == "light").lower()


@pytest.mark.parametrize("width", [400, 1600])
def test_only_tables_scroll_sideways(opened, width):
    tab = opened(written(poisoned()), width=width)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert tab.evaluate(overflow) == 0
    tab.locator("button.open").first.click()
    body = "document.querySelector('dialog').scrollWidth - document.querySelector('dialog').clientWidth"
    assert tab.evaluate(body) == 0


def test_hostile_strings_are_shown_not_obeyed(opened):
    tab = opened(written(poisoned(), [Rejected(HOSTILE, HOSTILE)]))
    for index in range(tab.locator("button.open").count()):
        tab.locator("button.open").nth(index).click()
        assert "<script>window.hacked=1</script>" in tab.inner_text("dialog")
        tab.keyboard.press("Escape")
    for index in range(2):
        tab.locator("input.choose").nth(index).check()
    tab.get_by_role("button", name="Compare", exact=True).click()
    tab.keyboard.press("Escape")
    tab.locator(".targets > *").first.focus()
    assert "onerror" in tab.inner_text(".tip")
    assert tab.evaluate("window.hacked") is None
    assert tab.locator("img").count() == 0


def test_many_rows_come_in_portions_and_all_can_be_found(opened):
    names = [f"t{index:03}" for index in range(130)]
    tab = opened(written([AWQ.model_copy(update={"name": name}) for name in names]))
    assert len(labels(tab)) == 100
    assert "100 of 130 rows are shown" in tab.inner_text(".portion")
    tab.fill("#words", "t129")
    assert labels(tab) == ["t129"]
    tab.fill("#words", "")
    tab.get_by_role("button", name="Show 30 more").click()
    assert len(labels(tab)) == 130


def test_an_empty_directory_gets_a_page_that_helps(opened):
    tab = opened(written([]))
    assert "There is no run yet: make bench" in tab.inner_text("#answers")


def test_only_failures_are_told_too(opened):
    tab = opened(written([AWQ]))
    assert labels(tab) == ["awq"]
    tab.get_by_role("button", name="awq").click()
    assert "Fatal Python error: Segmentation fault" in tab.locator("dialog pre").text_content()


def test_a_record_that_leaves_out_all_it_may_is_shown(opened):
    bare = examples.completed(environment={}, stages_s={}, techniques=[], quality=[], ratios={})
    empty = {
        who: getattr(bare, who).model_copy(update={"metrics": {}})
        for who in ("baseline", "candidate")
    }
    tab = opened(written([bare.model_copy(update=empty)]))
    assert "the record has no energy_per_token" in tab.inner_text("#groups")
    tab.locator("button.open").first.click()
    assert "None was recorded." in tab.inner_text("dialog")


def test_paper_gets_tables_without_controls(opened):
    tab = opened(color_scheme="dark")
    tab.emulate_media(media="print", color_scheme="dark")
    assert background(tab) == "rgb(255, 255, 255)"
    assert tab.locator("#filters").is_hidden()
    assert tab.locator(".runs table").first.is_visible()
    assert tab.locator(".how").is_hidden()
    assert tab.locator("#answers table").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_to_complain_of(opened, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe checks pages"
    ).Axe()
    tab = opened(color_scheme=scheme)

    def violations(part=None):
        return [found["id"] for found in axe.run(tab, part).response["violations"]]

    assert violations() == []
    tab.get_by_role("button", name="capped", exact=True).click()
    assert violations("dialog") == []
