"""The picture of the requests in a server through its windows."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from helpers import loads
from helpers.load_windows import serve

from greenbench.analysis.groups.rows import groups
from greenbench.report.figures.load_panel import COLORS
from greenbench.report.figures.queue_trace import HEAD, HEIGHT, queue_trace
from greenbench.schema.traffic import Gauges

SVG = "{http://www.w3.org/2000/svg}"
RATES = (1.0, 2.0)


def told(who, block, load, running, waiting, **how):
    window = serve(who, block, load, **how)
    gauges = Gauges(step_s=2.5, running=running, waiting=waiting)
    return window.model_copy(
        update={"traffic": window.traffic.model_copy(update={"gauges": gauges})}
    )


def drawn(*windows, label="int4"):
    record = loads.completed(label, rates=RATES, windows=list(windows))
    ((row,),) = (group.rows for group in groups([record]))
    found = queue_trace(row, record.load)
    return found and ET.fromstring(found)


def curves(root):
    """Heights of each line in the panels, by colour and whether it is dashed."""
    found = {}
    for path in root.iter(f"{SVG}path"):
        ys = [float(y) for _, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path.get("d"))]
        if path.get("stroke") in COLORS and path.get("stroke-width") != "0.8" and ys[0] > 40:
            kind = path.get("stroke"), bool(path.get("stroke-dasharray"))
            found.setdefault(kind, []).append([round((HEAD + HEIGHT - y) / HEIGHT, 2) for y in ys])
    return found


def test_it_is_the_mean_of_the_valid_blocks_at_each_step_and_broken_where_nothing_was_told():
    root = drawn(
        told("baseline", 0, 1.0, [4.0, 4.0, None, 0.0], [0.0, 2.0, None, 0.0]),
        told("baseline", 1, 1.0, [2.0, 4.0, None, 0.0], [0.0, 0.0, None, 0.0]),
        told("baseline", 2, 1.0, [400.0] * 4, [400.0] * 4, validity="invalid"),
        told("candidate", 0, 1.0, [1.0, 1.0, 1.0, 1.0], [0.0] * 4),
    )
    found = curves(root)
    baseline, candidate = COLORS
    assert found[baseline, False] == [[0.75, 1.0, 0.0]]
    assert found[baseline, True] == [[0.0, 0.25, 0.0]]
    assert found[candidate, False] == [[0.25] * 4]
    assert found[candidate, True] == [[0.0] * 4]
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert {"1 requests/s", "2 requests/s", "10 s"} <= set(texts)
    assert texts.count("not told") == 1


def test_where_no_server_tells_there_is_none():
    assert drawn(serve("baseline", 0, 1.0), serve("candidate", 0, 1.0)) is None


def test_hostile_names_are_drawn_not_obeyed():
    root = drawn(told("baseline", 0, 1.0, [1.0], [0.0]), label="<script>&\x00")
    assert not list(root.iter(f"{SVG}script"))
