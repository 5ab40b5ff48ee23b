"""What the real engines are served with, and asked."""

from types import SimpleNamespace

from greenbench.engines.engine import Build
from greenbench.engines.start import Start
from greenbench.schema.enums import Dtype, Source
from greenbench.schema.spec import ModelSpec

PAIRS = [
    ("The president of the country", " said that the law was passed in 1995."),
    ("The president of the country", " is a book"),
    ("", "A text of its own, after nothing."),
    ("Is it true? ", "yes"),
]
TEXTS = ["It was the first time that the team had won the cup.", "x"]


def asked(*each):
    return [SimpleNamespace(args=args, task_name="t", doc_id=i) for i, args in enumerate(each)]


def build(path, dtype=Dtype.float32, **start):
    spec = ModelSpec(path.name, Source.local, path=str(path), dtype=dtype)
    return Build(spec, "safetensors", path, path, start=Start(**start))
