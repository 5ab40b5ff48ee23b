"""Which knobs of an engine or a technique are other than usual."""

from greenbench.engines.llama_cpp.engine import LlamaCpp
from greenbench.engines.transformers.engine import Transformers
from greenbench.schema.enums import Reference
from greenbench.schema.knobs import changed


def test_knobs_are_told_where_they_are_other_than_their_defaults():
    assert changed(LlamaCpp()) == {}
    assert changed(LlamaCpp(threads=2)) == {"threads": 2}
    assert changed(Transformers(reference=Reference.compiled)) == {"reference": "compiled"}
