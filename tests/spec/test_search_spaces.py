"""The studies that ship with autotune, and the schema that editors read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from autotune.domain import Host
from autotune.domain.metrics import METRICS
from autotune.domain.search_space import size
from autotune.levers import LEVERS
from autotune.levers.layout import DATA_KINDS, MODEL_KINDS
from autotune.spec import explain, json_schema, load
from autotune.spec.schema import schema_text
from autotune.spec.validation import valid_keys
from tests.spec.hosts import CPU, GPU, MAC

FOLDER = Path(__file__).parents[2] / "search_spaces"
FILES = sorted(FOLDER.glob("*.yaml"))
HOSTS = {
    "bert-gpu": (GPU,),
    "bert-cpu-inference": (CPU, GPU),
    "bert-serve": (CPU, GPU),
}


def test_the_promised_files_are_there() -> None:
    names = {path.stem for path in FILES}
    assert {"bert", "bert-sst2", "bert-gpu", "bert-cpu-inference", "bert-serve"} <= names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_loads_and_has_something_to_search(path: Path) -> None:
    for host in HOSTS.get(path.stem, (CPU, GPU, MAC)):
        loaded = load(path, host=host)
        assert loaded.study.name == path.stem
        assert loaded.skipped == ()
        assert explain(loaded, host).combinations > 24


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_names_the_schema_on_its_first_line(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=schema.json"


def test_the_default_study_fits_a_small_machine_without_a_network() -> None:
    study = load(FOLDER / "bert.yaml", host=CPU).study
    assert (study.task.model, study.task.dataset) == ("builtin:minilm", "builtin:docstrings")
    assert (study.budget.trials, study.budget.minutes) == (24, 10)


def test_every_kind_of_parallelism_runs_whatever_the_sampler_proposes() -> None:
    study = load(FOLDER / "bert-parallel.yaml", host=CPU).study
    kinds = {str(s["parallelism"]).partition(":")[0] for s in (study.baseline, *study.start_with)}
    assert kinds == {"none", *DATA_KINDS, *MODEL_KINDS}
    assert study.budget.trials is not None and study.budget.trials > len(study.start_with)


def test_overrides_set_the_data_of_the_default_study() -> None:
    overrides = [
        "study=sst2",
        "task.dataset.train=../shared/data/sst2/train.jsonl",
        "task.dataset.validation=../shared/data/sst2/validation.jsonl",
        "budget.trials=8",
    ]
    study = load(FOLDER / "bert.yaml", host=CPU, overrides=overrides).study
    assert study.name == "sst2"
    assert study.task.dataset == {
        "train": "../shared/data/sst2/train.jsonl",
        "validation": "../shared/data/sst2/validation.jsonl",
    }


def test_the_bundled_schema_is_up_to_date() -> None:
    bundled = (FOLDER / "schema.json").read_text(encoding="utf-8")
    assert bundled == schema_text(), "python -m autotune.spec > search_spaces/schema.json"


def test_the_schema_has_every_section_lever_and_metric() -> None:
    schema = json_schema()
    assert sorted(schema["properties"]) == valid_keys(())
    levers = schema["properties"]["space"]["properties"]
    assert list(levers) == list(LEVERS)
    assert all(LEVERS[name].summary in levers[name]["description"] for name in levers)
    metric = schema["$defs"]["ObjectiveSpec"]["properties"]["metric"]
    assert [one["const"] for one in metric["oneOf"]] == list(METRICS)


def test_the_schema_refers_only_to_its_definitions() -> None:
    schema = json_schema()
    references = {part.split('"')[0] for part in json.dumps(schema).split("#/$defs/")[1:]}
    assert references == set(schema["$defs"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_bundled_files_match_the_schema(path: Path) -> None:
    validator = Draft202012Validator(json_schema())
    data = yaml.safe_load(path.read_text(encoding="utf-8").replace("1e-5", "1.0e-5"))
    for lever in data["space"].values():
        if isinstance(lever, dict):
            lever.update({k: float(v) for k, v in lever.items() if k in ("low", "high")})
    data.pop("start_with", None)
    assert [e.message for e in validator.iter_errors(data)] == []
    data["space"]["batch_size"] = ["huge"]
    assert list(validator.iter_errors(data))


def test_explain_lists_what_is_left_out_and_why() -> None:
    def left_out(host: Host, lever: str) -> dict[str, str]:
        explanation = explain(load(FOLDER / "bert.yaml", host=host), host)
        return dict(next(e.left_out for e in explanation.levers if e.lever == lever))

    assert set(left_out(CPU, "precision")) == {"tf32", "fp16"}
    assert "8.0 or newer" in left_out(CPU, "precision")["tf32"]
    assert left_out(GPU, "precision") == {}
    assert set(left_out(MAC, "allocator")) == {"tuned"}


def test_explain_counts_the_allowed_combinations() -> None:
    text = """\
study: s
objectives: [accuracy]
space:
  batch_size: [8, 16, 32]
  micro_batch_size: [full, 8, 16]
  padding: [fixed, dynamic]
  pruning_ratio: [0, 0.5]
  pruning_method: [structured, layers]
  learning_rate: {low: 1e-5, high: 1e-3, log: true}
"""
    loaded = load(text, host=CPU)
    explanation = explain(loaded, CPU)
    finite = load(text.replace("{low: 1e-5, high: 1e-3, log: true}", "1e-4"), host=CPU)
    assert explanation.combinations == size(finite.study.space) == 6 * 2 * 3
    assert explanation.continuous == ("learning_rate",)
    rules = {rule.excludes for rule in explanation.rules}
    assert rules == {"micro_batch_size >= batch_size", "batch_size % micro_batch_size > 0"}
    assert [one.lever for one in explanation.levers] == list(LEVERS)
