"""Commands about study files and the hardware they run on: ``validate init hardware``."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from autotune.cli.executors import find_host, open_executor
from autotune.cli.options import JsonOption, SetOption, SpecArgument
from autotune.cli.output import err, info, out, print_json, print_plan
from autotune.errors import NotFoundError, UsageError


def bundled_studies() -> Path:
    """The folder of the bundled studies: in a wheel inside of the package, else next to it."""
    package = Path(__file__).parents[2]
    in_wheel = package / "_search_spaces"
    return in_wheel if in_wheel.is_dir() else package.parent / "search_spaces"


def resolve_study_path(file: str) -> Path:
    """The study file at this path, or the bundled one of this name."""
    path = Path(file)
    if path.is_file():
        return path
    bundled = bundled_studies() / path.name
    if bundled.suffix != ".yaml":
        bundled = bundled.with_name(f"{bundled.name}.yaml")
    if bundled.is_file() and path.parent.name in ("", "search_spaces"):
        return bundled
    names = ", ".join(sorted(p.stem for p in bundled_studies().glob("*.yaml")))
    raise NotFoundError(f"no study file {file}", hint=f"give a path, or a bundled study: {names}")


def validate(
    file: SpecArgument,
    override: SetOption = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what each lever searches, and what is left out.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="With --explain, list all levers and rules.")
    ] = False,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe", help="Profile the default for some seconds: how long it takes, what fits."
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check a study file and its data. All errors of the file are shown at once with their line and
    column."""
    from autotune import spec
    from autotune.trial.data.inspection import inspect_data

    path, overrides = resolve_study_path(file), override or []
    host = find_host(spec.executor(path, overrides=overrides))
    loaded = spec.load(path, host=host, overrides=overrides)
    facts = inspect_data(loaded.study.task)
    plan = _measure_plan(path, overrides) if probe else {}
    if json:
        record = {**asdict(spec.explain(loaded, host)), "data": asdict(facts)}
        print_json({**record, "plan": plan} if probe else record)
        return
    info(f"{path}: valid")
    for line in filter(None, (facts.describe(), *facts.notes)):
        info(f"data: {line}")
    if explain:
        from autotune.cli.tables import explanation_listings

        out.print(explanation_listings(spec.explain(loaded, host), verbose=verbose))
    if probe:
        print_plan(plan["text"], plan["warning"])
    elif explain:
        info("how long the default takes and how many trials fit: add --probe")


def _measure_plan(path: Path, overrides: list[str]) -> dict[str, Any]:
    """Profile the default on the executor of the study; the plan as ``--json`` has it."""
    from autotune import spec
    from autotune.analysis.plan import affordable_samples, describe_default, warn_of_plan
    from autotune.tuner.probe import profile_default

    with (
        open_executor(spec.executor(path, overrides=overrides)) as (executor, host),
        TemporaryDirectory() as directory,
    ):
        study = spec.load(path, host=host, overrides=overrides).study
        with err.status("profiling the default"):
            profile = profile_default(study, executor, Path(directory))
    seconds, samples = profile.seconds, profile.train_samples
    if study.has_auto_samples:
        samples = affordable_samples(study, seconds, profile.training_seconds, samples)
        seconds -= profile.training_seconds * (1 - samples / profile.train_samples)
    return {
        "default_seconds": seconds,
        "train_samples": samples,
        "text": f"on {samples:,} samples {describe_default(study, seconds)}",
        "warning": warn_of_plan(study, seconds, samples),
    }


def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("study.yaml"),
    study: Annotated[str | None, typer.Option(help="Name of the study.")] = None,
) -> None:
    """Write a commented study file to start from."""
    from autotune import spec

    if path.exists():
        raise UsageError(f"{path} exists already", hint="give another path, or remove the file")
    name = spec.study_name(study or path.stem)
    if study is not None and name != study:
        message = f"a study cannot be named '{study}': use letters, digits, '.', '_' and '-'"
        raise UsageError(message, hint=f"autotune init {shlex.quote(str(path))} --study {name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(spec.starter(name), encoding="utf-8")
    file = shlex.quote(str(path))
    info(f"wrote {path} (study {name}); edit it, then: autotune validate {file} --explain")
    info(f"search: autotune search {file}")


def hardware(json: JsonOption = False) -> None:
    """Show the hardware of this host and the settings of each lever that it can run."""
    from autotune.cli.tables import hardware_listings, hardware_record
    from autotune.hardware import inventory

    host = inventory()
    if json:
        print_json(hardware_record(host))
    else:
        out.print(hardware_listings(host))
