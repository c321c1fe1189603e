"""Batches and plans: order of examples, padding, steps."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from data_files import tiny
from trial_cases import make_collator, make_plan, make_split, make_strategy

from autotune.domain.training import RUNG_EXAMPLES
from autotune.errors import UsageError
from autotune.trial.data.batching import batch_order, select_examples
from autotune.trial.plan import plan_training
from autotune.trial.tasks.base import IGNORE_INDEX
from autotune.trial.trial_data import rung_rows

LENGTHS = np.random.default_rng(0).integers(4, 100, 203)


@pytest.mark.parametrize("padding", ["fixed", "dynamic", "bucketed"])
def test_an_epoch_has_every_example_once_and_a_smaller_last_batch(padding: str) -> None:
    epoch = list(islice(batch_order(LENGTHS, 8, padding, seed=1), 26))
    assert sorted(np.concatenate(epoch)) == list(range(203))
    assert sorted(map(len, epoch)) == [3, *[8] * 25]


@pytest.mark.parametrize("padding", ["dynamic", "bucketed"])
def test_order_follows_the_seed_and_changes_with_the_epoch(padding: str) -> None:
    first, again, other = (list(islice(batch_order(LENGTHS, 8, padding, s), 52)) for s in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])
    assert not np.array_equal(first[1], first[27])


def test_buckets_need_less_padding_and_start_with_the_longest() -> None:
    def padded(padding: str) -> int:
        batches = islice(batch_order(LENGTHS, 8, padding, seed=1), 26)
        return sum(len(rows) * int(LENGTHS[rows].max()) for rows in batches)

    assert padded("bucketed") < 1.1 * LENGTHS.sum() < padded("dynamic")
    first = next(batch_order(LENGTHS, 8, "bucketed", seed=1))
    assert LENGTHS[first].max() == LENGTHS.max()


def test_dynamic_pads_to_the_longest_fixed_to_a_given_length() -> None:
    data = make_split()
    rows = np.array([0, 3, 5])
    longest = int(data.lengths[rows].max())
    assert make_collator(data)(rows).inputs["input_ids"].shape == (3, longest)
    assert make_collator(data, length=16)(rows).inputs["input_ids"].shape == (3, 16)
    assert make_collator(data, multiple=16)(rows).inputs["input_ids"].shape == (3, 16)
    assert make_collator(data, multiple=16, limit=13)(rows).inputs["input_ids"].shape == (3, 13)


def test_a_rung_has_all_windows_of_its_examples() -> None:
    split = make_split(400)
    assert len(rung_rows(split, 0)) == RUNG_EXAMPLES
    windows = np.repeat(np.arange(200), 2)
    rows = rung_rows(replace(split, extras={"row_example": windows}), 0)
    assert len(rows) == 2 * RUNG_EXAMPLES
    assert {*np.bincount(windows[rows])} == {0, 2}


def test_a_batch_without_padding_has_no_mask_unless_it_must() -> None:
    data = make_split(shortest=6, longest=6)
    assert "attention_mask" not in make_collator(data)(np.array([0, 1])).inputs
    assert "attention_mask" in make_collator(data, always_mask=True)(np.array([0, 1])).inputs
    mixed = make_collator(make_split())(np.arange(6)).inputs
    assert torch.equal(mixed["attention_mask"].sum(1), torch.from_numpy(make_split().lengths[:6]))


def test_a_function_of_the_user_changes_the_inputs_of_a_batch() -> None:
    collate = make_collator(make_split())
    rows = np.array([0, 3, 5])
    plain = collate(rows)

    def mask_all(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**inputs, "input_ids": torch.full_like(inputs["input_ids"], 103)}

    changed = replace(collate, transform=mask_all)(rows)
    assert (changed.inputs["input_ids"] == 103).all()
    assert torch.equal(changed.inputs["attention_mask"], plain.inputs["attention_mask"])
    assert torch.equal(changed.labels, plain.labels)
    shortened = replace(collate, transform=lambda inputs: {"input_ids": inputs["input_ids"][:1]})
    with pytest.raises(UsageError, match="returns other inputs than input_ids, attention_mask"):
        shortened(rows)


def test_num_labels_excludes_ignored_labels() -> None:
    data = make_split(by_token=True)
    batch = make_collator(data)(np.array([1, 2]))
    assert batch.num_labels == data.lengths[1] + data.lengths[2]
    assert int((batch.labels == IGNORE_INDEX).sum()) == batch.labels.numel() - batch.num_labels


@pytest.mark.parametrize("by_token", [False, True])
def test_selected_examples_are_unchanged(by_token: bool) -> None:
    data = make_split(by_token=by_token)
    rows = np.array([5, 2, 9])
    batch = make_collator(data)(rows)
    selected = make_collator(select_examples(data, rows))(np.arange(3))
    assert torch.equal(batch.inputs["input_ids"], selected.inputs["input_ids"])
    assert torch.equal(batch.labels, selected.labels)


def test_steps_follow_from_epochs_unless_the_task_sets_them() -> None:
    collate = make_collator(make_split(20))
    task = tiny("builtin:none")
    assert plan_training(make_strategy(batch_size=8, epochs=1.0), task, collate, 0).steps == 3
    assert plan_training(make_strategy(batch_size=8, epochs=2.5), task, collate, 0).steps == 8
    assert (
        plan_training(make_strategy(batch_size=8), tiny("builtin:none", steps=50), collate, 0).steps
        == 50
    )


def test_rungs_are_within_the_run() -> None:
    task = tiny("builtin:none", steps=40)
    assert plan_training(make_strategy(), task, make_collator(make_split()), 0).rungs == {10, 20}
    assert (
        plan_training(make_strategy(), tiny("b", steps=1), make_collator(make_split()), 0).rungs
        == frozenset()
    )


def test_micro_batches_divide_the_batch() -> None:
    plan = make_plan(make_collator(make_split()), steps=1, batch=8, micro=3)
    micro_batches = plan.micro_batches(np.arange(8))
    assert [rows.tolist() for rows in micro_batches] == [[0, 1, 2], [3, 4, 5], [6, 7]]
