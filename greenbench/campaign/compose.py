"""From ``conf/`` and overrides to validated runs. Hydra composes; every mistake is one sentence."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from greenbench.campaign.mistakes import one_sentence
from greenbench.errors import UserError
from greenbench.paths import conf_dir
from greenbench.schema.spec import BenchSpec, Source
from greenbench.techniques import Technique, check_order, discover, plugin_packages

ROOT = "bench"


@dataclass(frozen=True)
class Job:
    """One validated run and the overrides that ask for it."""

    spec: BenchSpec
    overrides: tuple[str, ...]


def experiments() -> list[str]:
    """Names of the sweeps that come with GreenBench."""
    return sorted(path.stem for path in _experiment_files())


def _experiment_files() -> list[Path]:
    return sorted((conf_dir().parent / "experiments").glob("*.yaml"))


def options(group: str) -> list[str]:
    """Names of the options in a config group, plug-ins' options included."""
    folders = [conf_dir(), *_plugin_folders()]
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def plan(overrides: Sequence[str], *, multirun: bool, config_dir: Path | None = None) -> list[Job]:
    """Compose and validate every run that `overrides` ask for, before anything is loaded.

    Raises UserError, one sentence, at the first mistake.
    """
    with _hydra(config_dir), one_sentence():
        parsed = _parse(overrides)
        if multirun:
            swept = list(_expand(overrides, parsed))
        else:
            _refuse_sweeps(overrides, parsed)
            swept = [tuple(overrides)]
        return [Job(_compose(choice), choice) for choice in swept]


def resolved_yaml(job: Job) -> str:
    """The job's whole configuration as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create({ROOT: plain(job.spec)})[ROOT])


def plain(value: Any) -> Any:
    """A spec as plain dicts, lists, strings and numbers, in field order."""
    container = OmegaConf.create({"value": value}, flags={"allow_objects": True})
    return OmegaConf.to_container(container, enum_to_str=True)["value"]  # type: ignore[index,call-overload]


def _compose(overrides: Sequence[str]) -> BenchSpec:
    config = compose(ROOT, overrides=list(overrides))
    spec = OmegaConf.to_object(config)
    assert isinstance(spec, BenchSpec)
    unknown = [
        name for name, technique in spec.technique.items() if not isinstance(technique, Technique)
    ]
    if unknown:
        raise UserError(
            f"technique.{unknown[0]} has no code behind it: its YAML must start with "
            f"`defaults: [schema/{unknown[0]}, _self_]` and a technique of that name must be installed."
        )
    check_order(list(spec.technique.values()))
    return replace(spec, model=replace(spec.model, name=_model_name(spec)))


def _model_name(spec: BenchSpec) -> str:
    """Hub and local models are named by what they were asked for as."""
    model = spec.model
    if model.source is Source.local:
        return Path(str(model.path)).expanduser().resolve().name
    if model.source is Source.hub and model.name == "hub":
        return str(model.id).rpartition("/")[2]
    return model.name


def _expand(overrides: Sequence[str], parsed: Sequence[Override]) -> Iterator[tuple[str, ...]]:
    """Every combination of the sweep, the experiment's own axes first; the command line wins."""
    fixed = [
        text
        for text, override in zip(overrides, parsed, strict=True)
        if not override.is_sweep_override()
    ]
    axes: dict[str, list[str]] = {}
    for override in (*_parse(_experiment_axes(fixed)), *parsed):
        key = override.get_key_element()
        if override.is_sweep_override():
            axes[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            axes[key] = [f"{key}={override.get_value_element_as_str()}"]
    yield from itertools.product(*axes.values())


def _experiment_axes(overrides: Sequence[str]) -> list[str]:
    config = compose(ROOT, overrides=list(overrides), return_hydra_config=True)
    return [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]


def _refuse_sweeps(overrides: Sequence[str], parsed: Sequence[Override]) -> None:
    for text, override in zip(overrides, parsed, strict=True):
        if override.is_sweep_override():
            raise UserError(f"{text} asks for several runs: add --multirun.")
    named = {override.get_key_element() for override in parsed}
    for axis in _parse(_experiment_axes(overrides)):
        if axis.get_key_element() not in named:
            raise UserError(
                f"This experiment sweeps {axis.get_key_element()}: add --multirun to run all of it, or "
                f"choose one with {axis.get_key_element()}=..."
            )


def _parse(overrides: Sequence[str]) -> list[Override]:
    loader = GlobalHydra.instance().config_loader()
    return OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))


@contextmanager
def _hydra(config_dir: Path | None) -> Iterator[None]:
    """Hydra with our folders on its search path and every schema registered."""
    if config_dir is not None and not config_dir.is_dir():
        raise UserError(
            f"--config-dir {config_dir} is not a directory: give one that holds config groups."
        )
    _SearchPath.folders = [*_plugin_folders(), *([config_dir] if config_dir else [])]
    Plugins.instance().register(_SearchPath)
    _register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield


class _SearchPath(SearchPathPlugin):
    """Adds plug-ins and the user's ``--config-dir`` to where Hydra looks."""

    folders: list[Path] = []  # noqa: RUF012

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in self.folders:
            search_path.append("greenbench", f"file://{folder.resolve()}")


def _plugin_folders() -> list[Path]:
    specs = (find_spec(package) for package in plugin_packages())
    return [Path(str(spec.origin)).parent / "conf" for spec in specs if spec is not None]


def _register() -> None:
    store = ConfigStore.instance()
    store.store(name="bench_schema", node=_writable(BenchSpec))
    # By name, not by search path: all that lies beside experiments/ would become config groups.
    for path in _experiment_files():
        store.store(
            group="experiments", name=path.stem, node=OmegaConf.load(path), package="_global_"
        )
    for name, technique in discover().items():
        store.store(
            group="technique/schema",
            name=name,
            node=_writable(technique),
            package=f"technique.{name}",
        )


def _writable(cls: type) -> DictConfig:
    """A frozen dataclass as a config that Hydra may still fill in (OmegaConf makes it read-only)."""

    def thaw(node: Any) -> None:
        if isinstance(node, DictConfig):
            node._set_flag("readonly", None)
            for key in node if not (node._is_none() or node._is_missing()) else ():
                thaw(node._get_node(key))

    config: DictConfig = OmegaConf.structured(cls)
    thaw(config)
    return config
