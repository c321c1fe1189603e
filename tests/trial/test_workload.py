"""What is said of a task's sizes is what loading it finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from data_files import tiny, write_splits

from autotune.trial.data.datasets import load_split, prepare_task
from autotune.trial.encoder import encoder_of
from autotune.trial.models import load_model
from autotune.trial.workload import profile_workload


def test_an_anatomy_is_that_of_the_loaded_model(tmp_path: Path) -> None:
    task = tiny(write_splits(tmp_path))
    anatomy, prepared = profile_workload(task), prepare_task(task)
    model = load_model(prepared)
    encoder = encoder_of(model)
    inside = sum(p.numel() for p in encoder.module_list.parameters())
    assert anatomy.parameters == model.num_parameters()
    assert anatomy.layers * anatomy.layer_parameters == inside
    assert (anatomy.layers, anatomy.heads) == (len(encoder.layers), encoder.layers[0].heads)
    assert (anatomy.hidden, anatomy.intermediate_size) == (128, encoder.layers[0].neurons)
    assert anatomy.dropout
    assert anatomy.labels == prepared.num_labels


def test_an_anatomy_is_that_of_the_prepared_data(tmp_path: Path) -> None:
    task = replace(tiny(write_splits(tmp_path)), steps=None)
    anatomy, lengths = profile_workload(task), load_split(prepare_task(task), "train").lengths
    assert anatomy.train_samples == len(lengths)
    assert anatomy.longest == lengths.max() <= anatomy.max_length
    assert anatomy.median <= anatomy.p95 <= anatomy.longest
    assert anatomy.steps is None
    assert profile_workload(replace(task, steps=7)).steps == 7
    assert anatomy.idle_gib > 0
