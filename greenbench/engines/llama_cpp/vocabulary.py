"""A model's tokenizer as GGUF metadata.

Requests and answers are token ids, so that llama.cpp's own tokenizer never has a part in a number; it must
know what each id means all the same, to write text and to end an answer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from greenbench.errors import Unsupported

if TYPE_CHECKING:
    from gguf import GGUFWriter

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # gguf.TokenType
PRE = {"p{N}{1,3}": "llama-bpe", "?\\p{L}+|\\p{N}|": "qwen2"}
"""What splits text before byte pairs are joined, by what stands in its expression alone."""


class Ends(NamedTuple):
    """Tokens that begin and end a text."""

    begin: int | None
    end: tuple[int, ...]


def require_byte_pairs(directory: Path, name: str) -> dict[str, Any]:
    """The content of its tokenizer.json. Raises Unsupported where it is of another kind."""
    try:
        found: dict[str, Any] = json.loads((directory / "tokenizer.json").read_text())
        kind = found["model"]["type"]
    except (OSError, ValueError, KeyError, TypeError):
        found, kind = {}, "none that can be read"
    if kind != "BPE" or "ByteLevel" not in json.dumps(found.get("decoder")):
        raise Unsupported(
            f"Model {name} has a tokenizer ({kind}) that engine=llama_cpp cannot write as GGUF: it can "
            "those of byte-level pairs (BPE in tokenizer.json), as SmolLM2, Llama 3 and Qwen have them."
        )
    return found


def write(writer: GGUFWriter, tokenizer: dict[str, Any], rows: int, ends: Ends) -> None:
    """Add `tokenizer` for a model of `rows` embeddings, which may be more than there are tokens."""
    model = tokenizer["model"]
    tokens = [f"[PAD{place}]" for place in range(rows)]
    kinds = [UNUSED] * rows
    for text, place in model["vocab"].items():
        tokens[place], kinds[place] = text, NORMAL
    for each in tokenizer.get("added_tokens", ()):
        if each["id"] < rows:
            tokens[each["id"]] = each["content"]
            kinds[each["id"]] = CONTROL if each["special"] else USER_DEFINED
    merges = [each if isinstance(each, str) else " ".join(each) for each in model["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre(tokenizer))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_add_bos_token(False)
    if ends.begin is not None:
        writer.add_bos_token_id(ends.begin)
    for end, add in zip(ends.end, (writer.add_eos_token_id, writer.add_eot_token_id), strict=False):
        add(end)


def _pre(tokenizer: dict[str, Any]) -> str:
    """llama.cpp's name of how text is split."""
    said = json.dumps(tokenizer.get("pre_tokenizer"), ensure_ascii=False).replace("\\\\", "\\")
    if "Digits" in said:
        return "smollm"
    return next((name for mark, name in PRE.items() if mark in said), "gpt-2")
