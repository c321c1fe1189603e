"""Any content of a file gives a study, or mistakes with locations, and never a crash."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autotune.errors import SpecError
from autotune.spec import load, starter
from tests.spec.hosts import CPU

FULL = """\
study: s
task:
  kind: text-classification
  model: m
  dataset: {train: a, validation: b, test: c}
  columns: {text: a, text_pair: b, label: c}
  epochs: 2
  max_length: 64
  seed: 1
  train_samples: 10
  validation_samples: 10
objectives: [accuracy, {metric: loss, direction: minimize}]
constraints: [accuracy >= 0.5]
space:
  batch_size: [8, 16]
  pruning_ratio: {low: 0.0, high: 0.5, step: 0.25}
  padding: {values: [fixed, dynamic], when: batch_size > 8}
rules: [{exclude: batch_size == 8 and pruning_ratio > 0, because: so}]
start_with: [{batch_size: 16}]
budget: {trials: 2, minutes: 3, usd: 4}
limits: {memory_gib: 8, minutes: 2}
prices: {cpu_core: 1, gpus: {H100: 2}}
executor: {kind: ray, workers: 2, address: auto}
sampler: {kind: tpe, seed: 1}
storage: sqlite:///x.db
"""

ODD: list[Any] = [None, True, -1, 0, 3.5, 10**20, float("inf"), "", "odd", "nan", [], {}, [[]],
                  [None], [1, "a"], {"odd": 1}, {"values": []}, [{}], "a > b", "é\n"]  # fmt: skip


def paths(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from paths(value, (*at, key))


def outcome(text: str) -> SpecError | None:
    """The mistakes of a text, checked to have places within it."""
    try:
        load(text + "\n", host=CPU)
    except SpecError as error:
        lines = (text + "\n").count("\n") + 1
        assert error.mistakes
        assert all(1 <= m.line <= lines and m.column >= 1 for m in error.mistakes)
        assert all(m.message for m in error.mistakes)
        return error
    return None


def test_the_full_file_is_good() -> None:
    assert outcome(FULL) is None


@pytest.mark.parametrize(("number", "path"), list(enumerate(paths(yaml.safe_load(FULL)))), ids=str)
def test_odd_values_in_every_place(number: int, path: tuple[Any, ...]) -> None:
    for odd in [*ODD, *ODD][number % len(ODD) :][:7]:  # another seven at each place
        data: Any = {"root": copy.deepcopy(yaml.safe_load(FULL))}
        holder = data
        for part in ("root", *path)[:-1]:
            holder = holder[part]
        holder[("root", *path)[-1]] = odd
        outcome(yaml.safe_dump(data["root"], sort_keys=False))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet="ab:{}[]-,#&*!|>'\"%@` \n\t\\?0.~", max_size=60))
def test_any_text(text: str) -> None:
    assert outcome(text) is not None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_good_file_with_a_few_characters_changed(data: st.DataObject) -> None:
    text = FULL
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1))
        text = text[:place] + data.draw(st.sampled_from(":{}[],-'\"x0 \n\t#&")) + text[place + 1 :]
    outcome(text)


def test_the_kept_spec_resolves_to_the_same_study() -> None:
    """A stored study is read again from its spec when it is resumed."""
    folder = Path(__file__).parents[2] / "search_spaces"
    for text in (FULL, starter(), (folder / "bert.yaml").read_text(encoding="utf-8")):
        study = load(text, host=CPU).study
        again = load(yaml.safe_dump(dict(study.spec), sort_keys=False), host=CPU).study
        assert again == study
