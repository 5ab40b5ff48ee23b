"""The table of tasks: flips, the exact tests and fidelity, all from what the records hold."""

from helpers import examples

from greenbench.analysis.groups.rows import groups
from greenbench.report.markdown.sections.quality import per_task
from greenbench.schema.quality import Fidelity
from greenbench.schema.quantity import Quantity


def cells(records, **options):
    """The table's lines by task and technique."""
    rows = [row for group in groups(records) for row in group.rows]
    lines = [line for line in per_task(rows, **options) if line.startswith("| ")]
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {(line[0], line[1]): dict(zip(split[0], line, strict=True)) for line in split[1:]}


def measured(value, unit):
    return Quantity(
        value=value, unit=unit, provenance="measured:score", n=100, low=value / 2, high=value * 1.1
    )


def test_flips_mcnemar_and_equivalence_by_task_and_together():
    """2 gained and 8 lost: the exact binomial of 10 flips gives 2 * 56 / 1024; p = 0.109."""
    record = examples.completed(
        quality=[examples.score("sciq", 2, 8), examples.score("piqa", 0, 0, n=2000, right=1500)]
    )
    found = cells([record])
    (name,) = {technique for _, technique in found}
    sciq = found["`sciq` acc_norm", name]
    assert (sciq["right to wrong"], sciq["wrong to right"], sciq["p"]) == ("8", "2", "0.109")
    assert sciq["equivalent"].startswith("no (p ")
    piqa = found["`piqa` acc_norm", name]
    assert (piqa["right to wrong"], piqa["wrong to right"], piqa["p"]) == ("0", "0", "1.000")
    assert piqa["equivalent"].startswith("**yes**")
    together = found["all tasks", name]
    assert (together["right to wrong"], together["wrong to right"]) == ("8", "2")
    assert together["equivalent"].startswith("**yes**")  # 6 of 2100 are 0.3 points
    strict = cells([record], margin=0.2)
    assert strict["all tasks", name]["equivalent"].startswith("no")


def test_fidelity_stands_where_it_was_kept():
    near = Fidelity(divergence=measured(0.02, "nat/item"), agreement=measured(0.9, "fraction"))
    kept = examples.score("sciq", 1, 1).model_copy(update={"fidelity": near})
    found = cells([examples.completed(quality=[kept, examples.score("piqa", 0, 1)])])
    by_task = {task: line for (task, _), line in found.items()}
    assert by_task["`sciq` acc_norm"]["divergence, nats"].startswith("0.02")
    assert by_task["`sciq` acc_norm"]["agreement, %"].startswith("90")
    assert by_task["`piqa` acc_norm"]["agreement, %"].startswith("n/a (")
    assert by_task["all tasks"]["agreement, %"] == ""


def test_bits_per_byte_has_no_flips():
    found = cells([examples.completed(quality=[examples.bits_per_byte(1.2)])])
    ((_, line),) = found.items()
    assert (line["right to wrong"], line["equivalent"]) == ("", "")
    assert line["p"] == "<0.001"
