"""Batches: which examples, in what order, padded how."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from data_files import tiny
from finetune_cases import collator, split, strategy
from finetune_cases import plan as make_plan

from autotune.trial.data.batching import batch_order, subset
from autotune.trial.plan import linear_decay, schedule
from autotune.trial.tasks.base import IGNORED

LENGTHS = np.random.default_rng(0).integers(4, 100, 203)


@pytest.mark.parametrize("padding", ["fixed", "dynamic", "bucketed"])
def test_an_epoch_has_every_example_once_and_keeps_the_small_last_batch(padding: str) -> None:
    epoch = list(islice(batch_order(LENGTHS, 8, padding, seed=1), 26))
    assert sorted(np.concatenate(epoch)) == list(range(203))
    assert sorted(map(len, epoch)) == [3, *[8] * 25]


@pytest.mark.parametrize("padding", ["dynamic", "bucketed"])
def test_order_follows_the_seed_and_changes_with_the_epoch(padding: str) -> None:
    first, again, other = (list(islice(batch_order(LENGTHS, 8, padding, s), 52)) for s in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])
    assert not np.array_equal(first[1], first[27])


def test_buckets_waste_less_padding_and_begin_with_the_longest() -> None:
    def padded(padding: str) -> int:
        batches = islice(batch_order(LENGTHS, 8, padding, seed=1), 26)
        return sum(len(rows) * int(LENGTHS[rows].max()) for rows in batches)

    assert padded("bucketed") < 1.1 * LENGTHS.sum() < padded("dynamic")
    first = next(batch_order(LENGTHS, 8, "bucketed", seed=1))
    assert LENGTHS[first].max() == LENGTHS.max()


def test_dynamic_pads_to_the_longest_fixed_to_the_length_given() -> None:
    data = split()
    rows = np.array([0, 3, 5])
    longest = int(data.lengths[rows].max())
    assert collator(data)(rows).inputs["input_ids"].shape == (3, longest)
    assert collator(data, length=16)(rows).inputs["input_ids"].shape == (3, 16)
    assert collator(data, multiple=16)(rows).inputs["input_ids"].shape == (3, 16)


def test_a_batch_without_padding_has_no_mask_unless_it_must() -> None:
    data = split(shortest=6, longest=6)
    assert "attention_mask" not in collator(data)(np.array([0, 1])).inputs
    assert "attention_mask" in collator(data, always_mask=True)(np.array([0, 1])).inputs
    mixed = collator(split())(np.arange(6)).inputs
    assert torch.equal(mixed["attention_mask"].sum(1), torch.from_numpy(split().lengths[:6]))


def test_labels_that_count_are_counted() -> None:
    data = split(by_token=True)
    batch = collator(data)(np.array([1, 2]))
    assert batch.judged == data.lengths[1] + data.lengths[2]
    assert int((batch.labels == IGNORED).sum()) == batch.labels.numel() - batch.judged


@pytest.mark.parametrize("by_token", [False, True])
def test_a_subset_holds_the_same_examples(by_token: bool) -> None:
    data = split(by_token=by_token)
    rows = np.array([5, 2, 9])
    whole, part = collator(data)(rows), collator(subset(data, rows))(np.arange(3))
    assert torch.equal(whole.inputs["input_ids"], part.inputs["input_ids"])
    assert torch.equal(whole.labels, part.labels)


def test_steps_count_epochs_rounded_up_and_the_task_may_set_them() -> None:
    collate = collator(split(20))
    task = tiny("builtin:none")
    assert schedule(strategy(batch_size=8, epochs=1.0), task, collate, 0).steps == 3
    assert schedule(strategy(batch_size=8, epochs=2.5), task, collate, 0).steps == 8
    assert schedule(strategy(batch_size=8), tiny("builtin:none", steps=50), collate, 0).steps == 50


def test_rungs_are_within_the_run() -> None:
    task = tiny("builtin:none", steps=40)
    assert schedule(strategy(), task, collator(split()), 0).rungs == {10, 20}
    assert schedule(strategy(), tiny("b", steps=1), collator(split()), 0).rungs == frozenset()


def test_micro_batches_cut_the_batch() -> None:
    plan = make_plan(collator(split()), steps=1, batch=8, micro=3)
    parts = plan.parts(np.arange(8))
    assert [part.tolist() for part in parts] == [[0, 1, 2], [3, 4, 5], [6, 7]]


def test_rate_decays_linearly_to_nothing() -> None:
    assert [linear_decay(2.0, step, 4) for step in range(5)] == [2.0, 1.5, 1.0, 0.5, 0.0]
