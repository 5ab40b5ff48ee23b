"""Data sets of tasks that a hub gives: which they are, and how much of them is not here yet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from greenbench.quality.tasks.digests import PACKAGED, files_of
from greenbench.quality.tasks.lookup import is_ours
from greenbench.quality.tasks.offline import unseen
from greenbench.quality.tasks.yaml_files import read
from greenbench.schema.spec import TaskSpec

if TYPE_CHECKING:
    from huggingface_hub.hf_api import DatasetInfo

ASKED_S = 10.0
FORMATS = (
    ".arrow", ".bz2", ".csv", ".gz", ".json", ".jsonl", ".parquet", ".tsv", ".txt", ".xz", ".zip", ".zst",
)  # fmt: skip


class DataSet(NamedTuple):
    """A repository of a hub."""

    id: str
    revision: str | None


def data_sets(specs: Iterable[TaskSpec]) -> dict[DataSet, set[str | None]]:
    """Those that tasks' files name, and which of their configurations; null: the one that is the default.

    A file that is wrong is `check_tasks`'s to refuse.
    """
    names = {(name, spec.include_path) for spec in specs for name in spec.names}
    found: defaultdict[DataSet, set[str | None]] = defaultdict(set)
    for path in (
        path for each in sorted(names, key=str) if not is_ours(*each) for path in files_of(*each)
    ):
        with suppress(Exception):
            content = read(path)
            where, options = content.get("dataset_path"), content.get("dataset_kwargs") or {}
            own = "custom_dataset" in content or {"data_files", "data_dir"} & set(options)
            if where and where not in PACKAGED and not own and not Path(where).exists():
                found[DataSet(where, options.get("revision"))].add(content.get("dataset_name"))
    return found


def missing_bytes(wanted: DataSet, configs: Collection[str | None]) -> int | None:
    """How much of these configurations would be fetched now; null where the hub does not say.

    0 where it cannot be asked: all is here then, or the task is refused for it; or where nothing is fetched.
    """
    if unseen() is not None:
        return 0
    from huggingface_hub import HfApi, try_to_load_from_cache

    try:
        told = HfApi().dataset_info(
            wanted.id, revision=wanted.revision, files_metadata=True, timeout=ASKED_S
        )
    except Exception:  # of a hub's answer, or of the network, which are many
        return 0
    sizes = {file.rfilename: file.size for file in told.siblings or ()}
    absent = {
        name
        for name in sizes
        if not try_to_load_from_cache(wanted.id, name, revision=told.sha, repo_type="dataset")
    }
    files: set[str] = set()
    for config in configs:
        if not (part := _files(told, list(sizes), config)):
            return (
                None if absent == set(sizes) else 0
            )  # any that is here is taken for what is meant
        files |= part
    left = [sizes[name] for name in files & absent]
    return None if None in left else sum(size or 0 for size in left)


def _files(told: DatasetInfo, names: list[str], config: str | None) -> set[str]:
    """Those of a configuration: as the card lists them, or its folder; empty where neither tells."""
    data = {name for name in names if name.endswith(FORMATS)}
    listed = told.card_data.get("configs", []) if told.card_data else []
    if not listed:
        return {name for name in data if config is None or name.startswith(f"{config}/")}
    usual = [each for each in listed if each.get("default")] or listed[:1]
    chosen = [each for each in listed if each.get("config_name") == (config or "default")]
    patterns = list(_patterns((chosen or ([] if config else usual) or [{}])[0]))
    return {name for name in data if any(fnmatch(name, pattern) for pattern in patterns)}


def _patterns(config: Mapping[str, Any]) -> Iterator[str]:
    """Of its files: one, several, or by split."""
    left = [config.get("data_files")]
    while left:
        match left.pop():
            case str(pattern):
                yield pattern
            case list(several):
                left += several
            case {"path": paths}:
                left.append(paths)
