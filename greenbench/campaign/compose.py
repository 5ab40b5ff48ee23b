"""From ``conf/`` and overrides to validated runs. Hydra composes; every mistake is one sentence."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from greenbench.campaign.catalog import classes, experiments
from greenbench.campaign.invocation import BenchSpec
from greenbench.campaign.mistakes import one_sentence
from greenbench.campaign.overrides import one_run, read, sweep
from greenbench.errors import UserError
from greenbench.paths import conf_dir
from greenbench.plugins import conf_folders
from greenbench.schema.enums import Source
from greenbench.schema.ranges import require_storable

ROOT = "bench"


@dataclass(frozen=True)
class Job:
    """One validated run and the overrides that ask for it."""

    spec: BenchSpec
    overrides: tuple[str, ...]
    config_dir: Path | None = None
    """The user's own, which the overrides may name files of."""


def plan(
    overrides: Sequence[str],
    *,
    multirun: bool,
    config_dir: Path | None = None,
    may_sweep: bool = True,
) -> list[Job]:
    """Compose and validate every run that `overrides` ask for, before anything is loaded.

    `may_sweep`: whether the caller could have said `multirun`. Raises UserError, one sentence, at the first
    mistake.
    """
    axes = partial(_experiment_axes, [config_dir] if config_dir else [])
    with _hydra(config_dir, imports=False), one_sentence(overrides):
        asked = read(overrides, [config_dir] if config_dir else [])
        choices = (
            list(sweep(asked, axes)) if multirun else [one_run(asked, axes, may_sweep=may_sweep)]
        )
        if "torch" not in sys.modules:  # most mistakes show before techniques are imported: seconds
            _compose(_bare(choices[0]))
    with _hydra(config_dir), one_sentence(overrides):
        jobs = [Job(_checked(_compose(choice), choice), choice, config_dir) for choice in choices]
    return list(_in_rounds(jobs))


def _in_rounds(jobs: Sequence[Job]) -> Iterator[Job]:
    """All runs once, then again for as many sessions as each has, so that its sessions lie hours apart."""
    for session in range(1, max(job.spec.sessions for job in jobs) + 1):
        for job in jobs:
            if job.spec.sessions == 1:
                yield from [job] * (session == 1)
            elif session <= job.spec.sessions:
                yield _of_session(job, session)


def _of_session(job: Job, session: int) -> Job:
    kept = (
        text
        for text in job.overrides
        if text.lstrip("+").partition("=")[0] not in {"session", "sessions"}
    )
    said = (*kept, *([f"session={session}"] if session > 1 else []))
    return replace(job, spec=replace(job.spec, session=session, sessions=1), overrides=said)


def _experiment_axes(beside: Sequence[Path], overrides: Sequence[str]) -> list[Override]:
    """What the experiment among `overrides`, or another group that was added, sweeps."""
    if not any(text.startswith("+") for text in overrides):
        return []
    params = _config(_bare(overrides), return_hydra_config=True).hydra.sweeper.params or {}
    return read([f"{key}={value}" for key, value in params.items()], beside)


def _bare(overrides: Sequence[str]) -> list[str]:
    """The same run, as far as its techniques and the knobs of its engine have no part in it."""
    return [
        text for text in overrides if not text.startswith(("technique=", "technique.", "engine."))
    ]


def resolved_yaml(job: Job) -> str:
    """The job's whole configuration as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create({ROOT: plain(job.spec)})[ROOT])


def plain(value: Any) -> Any:
    """A spec as plain dicts, lists, strings and numbers, in field order."""
    container = OmegaConf.create({"value": value}, flags={"allow_objects": True})
    return OmegaConf.to_container(container, enum_to_str=True)["value"]  # type: ignore[index,call-overload]


def _config(overrides: Sequence[str], *, return_hydra_config: bool = False) -> DictConfig:
    try:
        return compose(ROOT, list(overrides), return_hydra_config=return_hydra_config)
    except RecursionError as error:
        raise UserError(
            f"{' '.join(overrides)} names a file whose defaults list leads back to it: take it out there."
        ) from error
    except (AssertionError, AttributeError, TypeError, ValueError) as error:  # Hydra cannot follow
        raise ConfigCompositionException(str(error)) from error


def _compose(overrides: Sequence[str]) -> BenchSpec:
    config = _config(overrides)
    try:
        spec = OmegaConf.to_object(config)
    except (AttributeError, TypeError) as error:  # of a ${...} that stands for another part
        raise ConfigCompositionException(str(error)) from error
    assert isinstance(spec, BenchSpec)
    return replace(spec, model=replace(spec.model, name=_model_name(spec)))


def _checked(spec: BenchSpec, overrides: Sequence[str]) -> BenchSpec:
    """The spec. Raises UserError for what has no technique's class, and for a stack that cannot work."""
    for name, technique in spec.technique.items():
        if isinstance(technique, dict):
            raise UserError(
                f"technique.{name} has no code behind it: its YAML must start with `defaults: "
                f"[schema/{name}, _self_]` and a technique of that name must be installed."
            )
        if not is_dataclass(technique):
            raise UserError(
                f"technique.{name}={technique} is not allowed: set its knobs one by one, as in "
                f"technique.{name}.KNOB=VALUE."
            )
    options = _chosen(overrides)
    stack = [name for group, name in options if group == "technique" and name != "none"]
    if len(spec.technique) < len(stack):
        raise UserError(
            f"technique=[{','.join(stack)}] is one technique more than once, {_doubled(stack)}: "
            "a stack has each once."
        )
    if ("meter", "wall") in options and spec.meter.wall_log is None:
        raise UserError(
            "meter=wall without a log counts nothing at the wall: add meter.wall_log=FILE.csv, or say "
            "meter=auto."
        )
    require_storable(replace(spec, device_groups=None))  # that is in no record
    if spec.technique:
        from greenbench.techniques import check_purpose

        check_purpose(list(spec.technique.values()), spec)
    return spec


def _chosen(overrides: Sequence[str]) -> list[tuple[str, str]]:
    """Each group and an option of it that is chosen, on the command line or in a file that it names."""
    loader = GlobalHydra.instance().config_loader()
    found = loader.compute_defaults_list(ROOT, list(overrides), RunMode.RUN).defaults
    paths = [str(each.config_path).rpartition("/") for each in found if each.parent == ROOT]
    return [(group, name) for group, _, name in paths]


def _doubled(stack: Sequence[str]) -> str:
    """What two of the options come from."""
    options = Counter(name for each in stack for name in _compose([f"technique={each}"]).technique)
    return options.most_common(1)[0][0]


def _model_name(spec: BenchSpec) -> str:
    """Hub and local models are named by what they were asked for as."""
    model = spec.model
    if model.source is Source.local:
        return Path(str(model.path)).expanduser().resolve().name
    if model.source is Source.hub and model.name == "hub":
        return str(model.id).rpartition("/")[2]
    return model.name


@contextmanager
def _hydra(config_dir: Path | None, imports: bool = True) -> Iterator[None]:
    """Hydra with our folders on its search path; classes are names without knobs unless `imports`."""
    if config_dir is not None and not config_dir.is_dir():
        raise UserError(
            f"--config-dir {config_dir} is not a directory: give one that holds config groups."
        )
    _SearchPath.folders = [*conf_folders(), *([config_dir] if config_dir else [])]
    _ByName.imports = imports
    for plugin in (_SearchPath, _ByName):
        Plugins.instance().register(plugin)
    ConfigStore.instance().store(name="bench_schema", node=_writable(BenchSpec))
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield


class _SearchPath(SearchPathPlugin):
    """Adds plug-ins, the user's ``--config-dir`` and what goes by its name to where Hydra looks."""

    folders: list[Path] = []  # noqa: RUF012

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in self.folders:
            search_path.append("greenbench", f"file://{folder.resolve()}")
        search_path.append("greenbench", f"{_ByName.scheme()}://")  # last: a file may say otherwise


class _ByName(ConfigSource):
    """Techniques, engines and experiments as options, each loaded when Hydra asks for what is in it.

    A class stands in its group by itself, and in ``schema/`` for files of values. Experiments are no
    folder of the search path, as all that lies beside them would become config groups.
    """

    imports = True
    PACKAGES = {  # noqa: RUF012
        "technique": "technique.{}",
        "technique/schema": "technique.{}",
        "engine": "engine",
        "engine/schema": "engine",
        "experiments": "_global_",
    }

    @staticmethod
    def scheme() -> str:
        return "greenbench"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path.strip("/") in {"", *self.PACKAGES}

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.strip("/").removesuffix(".yaml").rpartition("/")
        return name in self._names(group)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        group = config_path.strip("/")
        inside = {path.partition("/")[2] if group else path for path in self.PACKAGES
                  if path.rpartition("/")[0] == group}  # fmt: skip
        names = {ObjectType.GROUP: inside, ObjectType.CONFIG: self._names(group)}
        return sorted(names[results_filter] if results_filter else inside | self._names(group))

    def load_config(self, config_path: str) -> ConfigResult:
        group, _, name = config_path.strip("/").removesuffix(".yaml").rpartition("/")
        return ConfigResult(
            provider=self.provider,
            path=self.full_path(),
            config=self._config(group, name),
            header={"package": self.PACKAGES[group].format(name)},
        )

    @staticmethod
    def _names(group: str) -> set[str]:
        return set(experiments() if group == "experiments" else classes(group.partition("/")[0]))

    def _config(self, group: str, name: str) -> Any:
        if group == "experiments":
            return OmegaConf.load(experiments()[name])
        known = classes(group.partition("/")[0])[name]
        return _writable(known.load()) if self.imports else OmegaConf.create({})


def _writable(cls: type) -> DictConfig:
    """A frozen dataclass as a config that Hydra may still fill in (OmegaConf makes it read-only).

    A mapping among its fields takes any key.
    """

    def thaw(node: Any) -> None:
        if isinstance(node, DictConfig):
            node._set_flag("readonly", None)
            if node._metadata.object_type is dict:
                node._set_flag("struct", False)
            for key in node if not (node._is_none() or node._is_missing()) else ():
                thaw(node._get_node(key))

    config: DictConfig = OmegaConf.structured(cls)
    thaw(config)
    return config
