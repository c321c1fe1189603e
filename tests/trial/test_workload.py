"""The workload profile has the sizes of the loaded model and data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from data_files import tiny, write_splits

from autotune.trial.data.datasets import load_split, prepare_task
from autotune.trial.encoder import encoder_of
from autotune.trial.models import load_model
from autotune.trial.workload import profile_workload


def test_the_profile_has_the_sizes_of_the_loaded_model(tmp_path: Path) -> None:
    task = tiny(write_splits(tmp_path))
    profile, prepared = profile_workload(task), prepare_task(task)
    model = load_model(prepared)
    encoder = encoder_of(model)
    in_layers = sum(p.numel() for p in encoder.module_list.parameters())
    assert profile.parameters == model.num_parameters()
    assert profile.layers * profile.layer_parameters == in_layers
    assert (profile.layers, profile.heads) == (len(encoder.layers), encoder.layers[0].heads)
    assert (profile.hidden, profile.intermediate_size) == (128, encoder.layers[0].neurons)
    assert profile.dropout
    assert profile.labels == prepared.num_labels


def test_the_profile_has_the_sizes_of_the_prepared_data(tmp_path: Path) -> None:
    task = replace(tiny(write_splits(tmp_path)), steps=None)
    profile, lengths = profile_workload(task), load_split(prepare_task(task), "train").lengths
    assert profile.train_samples == len(lengths)
    assert profile.longest == lengths.max() <= profile.max_length
    assert profile.median <= profile.p95 <= profile.longest
    assert profile.steps is None
    assert profile_workload(replace(task, steps=7)).steps == 7
    assert profile.idle_gib > 0
