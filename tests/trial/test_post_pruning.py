"""Lever ``post_pruning_ratio``: scores, the plan, the repair, and the model next to the trained."""

from __future__ import annotations

import copy
import itertools
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_encoders import HEADS, NEURONS, batches, tiny_model
from trial_cases import make_job

from autotune import deployment
from autotune.deployment import trained_model
from autotune.domain import Completed, Measurement, Phase, Strategy
from autotune.errors import Unsupported
from autotune.trial import post_pruning, run
from autotune.trial.data.datasets import load_split, prepare_task
from autotune.trial.effects.latency_table import LatencyTable, measure_latencies
from autotune.trial.effects.pruning_plan import apply_plan, identity_plan
from autotune.trial.effects.pruning_scores import LayerScores, fisher_scores
from autotune.trial.effects.reconstruction import reconstruct
from autotune.trial.effects.uneven_plan import uneven_plan
from autotune.trial.encoder import encoder_of, layer_of
from autotune.trial.model_files import MODEL, PRUNED, delete_model
from autotune.trial.post_pruning import pruned_model

TABLE = LatencyTable({1: 7.0, 2: 8.0, 3: 9.0, 4: 10.0}, {2: 4.0, 4: 6.0, 6: 8.0, 8: 10.0})


def test_the_fisher_score_is_the_squared_gradient_of_each_sample() -> None:
    model, samples = tiny_model(), batches(3, samples=1)
    scores = fisher_scores(model, samples)
    expected = torch.zeros(NEURONS)
    for batch in samples:
        model.zero_grad()
        model(**batch).loss.backward()
        linear = encoder_of(model).layers[0].ffn_out
        assert linear.weight.grad is not None
        expected += (linear.weight * linear.weight.grad).sum(dim=0).square().detach()
    torch.testing.assert_close(scores[0].neurons, expected, atol=1e-6, rtol=1e-3)


def random_scores(seed: int, layers: int = 2) -> list[LayerScores]:
    generator = torch.Generator().manual_seed(seed)
    return [
        LayerScores(torch.rand(4, generator=generator), torch.rand(8, generator=generator))
        for _ in range(layers)
    ]


def loss_and_seconds(
    scores: Sequence[LayerScores], heads: Sequence[Sequence[int]], neurons: Sequence[Sequence[int]]
) -> tuple[float, float]:
    """The sum of the scores of what a plan removes, and the seconds of its layers."""
    loss = seconds = 0.0
    for layer, kept_heads, kept_neurons in zip(scores, heads, neurons, strict=True):
        loss += float(layer.heads.sum() - layer.heads[list(kept_heads)].sum())
        loss += float(layer.neurons.sum() - layer.neurons[list(kept_neurons)].sum())
        seconds += TABLE.heads[len(kept_heads)] + TABLE.neurons[len(kept_neurons)] - TABLE.seconds
    return loss, seconds


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_plan_is_the_best_of_all(seed: int, ratio: float) -> None:
    scores = random_scores(seed)
    plan = uneven_plan(scores, [TABLE, TABLE], ratio)
    loss, seconds = loss_and_seconds(scores, plan["heads"], plan["neurons"])
    assert seconds <= (1 - ratio) * 20.0 + 1e-9
    counts = itertools.product(TABLE.heads, TABLE.neurons, TABLE.heads, TABLE.neurons)
    best = min(
        loss
        for h0, n0, h1, n1 in counts
        for loss, seconds in [
            loss_and_seconds(
                scores,
                [
                    s.heads.argsort(descending=True)[:h].tolist()
                    for s, h in zip(scores, (h0, h1), strict=True)
                ],
                [
                    s.neurons.argsort(descending=True)[:n].tolist()
                    for s, n in zip(scores, (n0, n1), strict=True)
                ],
            )
        ]
        if seconds <= (1 - ratio) * 20.0 - 0.01 * 20.0 * ratio
    )
    assert loss <= best + 1e-5


def test_layers_that_matter_keep_more() -> None:
    first, second = random_scores(0)
    weak = LayerScores(second.heads * 1e-3, second.neurons * 1e-3)
    plan = uneven_plan([first, weak], [TABLE, TABLE], 0.4)
    assert len(plan["neurons"][0]) > len(plan["neurons"][1])
    assert len(plan["heads"][0]) > len(plan["heads"][1])


def test_a_ratio_that_cannot_be_reached() -> None:
    with pytest.raises(Unsupported, match="the smallest layers save 90% of their time"):
        uneven_plan(random_scores(0), [TABLE, TABLE], 0.95)


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_tables_have_all_sizes_and_larger_ones_are_not_faster(kind: str) -> None:
    encoder = encoder_of(tiny_model(kind))
    table = measure_latencies(encoder.module_list[0], encoder.family, 6)
    assert list(table.heads) == list(range(1, HEADS + 1))
    assert list(table.neurons)[-1] == NEURONS and len(table.neurons) > 2
    for seconds in (table.heads, table.neurons):
        times = list(seconds.values())
        assert times == sorted(times) and times[0] > 0
    assert encoder.layers[0].heads == HEADS  # only copies were pruned


def outputs(model: Any, inputs: Sequence[Mapping[str, torch.Tensor]]) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model(**batch).logits for batch in inputs])


@pytest.mark.parametrize("kind", ["bert", "distilbert", "electra"])
def test_layers_are_fitted_to_those_of_the_complete_model(kind: str) -> None:
    complete = tiny_model(kind)
    inputs = [{k: v for k, v in b.items() if k != "labels"} for b in batches(12, samples=4)]
    plan = identity_plan(complete)
    plan["heads"], plan["neurons"] = [[0, 2], [1, 2, 3]], [list(range(100)), list(range(40))]
    pruned = copy.deepcopy(complete)
    apply_plan(pruned, plan)
    expected = outputs(complete, inputs)
    before = (outputs(pruned, inputs) - expected).square().mean()
    reconstruct(pruned, complete, inputs)
    after = (outputs(pruned, inputs) - expected).square().mean()
    assert after < 0.5 * before
    assert encoder_of(pruned).layers[1].neurons == 40


def test_units_without_effect_are_removed_without_loss() -> None:
    complete = tiny_model()
    layer = encoder_of(complete).layers[0]
    with torch.no_grad():
        layer.ffn_out.weight[:, 64:] = 0
    plan = identity_plan(complete)
    plan["neurons"][0] = list(range(64))
    pruned = copy.deepcopy(complete)
    apply_plan(pruned, plan)
    inputs = [{k: v for k, v in batch.items() if k != "labels"} for batch in batches()]
    reconstruct(pruned, complete, inputs)
    torch.testing.assert_close(outputs(pruned, inputs), outputs(complete, inputs))


@pytest.fixture
def steady_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in proportion to the work instead of a measured one, for layers that are tiny."""

    def measure(module: Any, family: Any, length: int) -> LatencyTable:
        layer = layer_of(module, family)
        heads, neurons = layer.heads, layer.neurons
        return LatencyTable(
            {n: 5 + 5 * n / heads for n in range(1, heads + 1)},
            {n: 4 + 6 * n / neurons for n in (*range(8, neurons, 8), neurons)},
        )

    monkeypatch.setattr(post_pruning, "measure_latencies", measure)


def test_a_trial_deploys_the_pruned_model(
    tmp_path: Path, steady_table: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Path] = []

    def build(model: Path, settings: Any, folder: Path, calibration: Any) -> Path:
        built.append(model)
        return model

    def measure(
        model: Path, texts: Any, score: Callable[..., Any], settings: Any, gpu: Any
    ) -> Mapping[str, Measurement]:
        logits = [np.zeros(2, np.float32)] * len(texts)
        return {"deployed_samples_per_second": Measurement("", 1.0, ""), **score(logits)}

    monkeypatch.setattr(deployment, "build", build)
    monkeypatch.setattr(deployment, "measure", measure)
    job = make_job(tmp_path, settings={"steps": 2}, post_pruning_ratio=0.3)
    job = replace(job, phases=(Phase.TRAIN, Phase.DEPLOY), keeps_model=True)
    outcome = run.run_trial(job, lambda point: None)
    assert isinstance(outcome, Completed), outcome
    folder = Path(job.directory)
    (pruned,) = built
    assert pruned == folder / f"{PRUNED}0.3"
    shapes = [
        [(layer.heads, layer.neurons) for layer in encoder_of(trained_model.load(path)).layers]
        for path in (folder / MODEL, pruned)
    ]
    assert shapes[0] != shapes[1] and sum(n for _, n in shapes[1]) < sum(n for _, n in shapes[0])
    written = (pruned / trained_model.WEIGHTS).stat().st_mtime_ns
    again = replace(
        job, phases=(Phase.DEPLOY,), directory=str(tmp_path / "0002"),
        model=outcome.result.model, model_folder=str(folder),
    )  # fmt: skip
    assert isinstance(run.run_trial(again, lambda point: None), Completed)
    assert built[1] == pruned and (pruned / trained_model.WEIGHTS).stat().st_mtime_ns == written
    delete_model(folder)
    assert not pruned.exists() and not list(folder.glob("*pruning-plan*"))
    assert not (folder / MODEL).exists()


def test_a_copy_that_is_made_again_is_the_same(
    tmp_path: Path, steady_table: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its latencies are timed, so that they would lead to another plan."""
    job = make_job(tmp_path, settings={"steps": 2}, post_pruning_ratio=0.3)
    job = replace(job, phases=(Phase.TRAIN,), keeps_model=True)
    assert isinstance(run.run_trial(job, lambda point: None), Completed)
    model, prepared = Path(job.directory) / MODEL, prepare_task(job.task)
    arguments: Any = (model, job.strategy, prepared, load_split(prepared, "train"), 0)
    (plan,) = [model.with_name("pruning-plan-0.3.json")]
    plan.write_text('{"layers": [0,')  # a worker was killed
    first = pruned_model(*arguments)
    assert json.loads(plan.read_bytes())["layers"] == [0, 1]
    weights = (first / trained_model.WEIGHTS).read_bytes()
    shutil.rmtree(first)

    def other(*arguments: Any) -> LatencyTable:
        raise AssertionError("nothing is timed again")

    monkeypatch.setattr(post_pruning, "measure_latencies", other)
    assert (pruned_model(*arguments) / trained_model.WEIGHTS).read_bytes() == weights


def test_of_two_trials_that_prune_at_once_one_model_is_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / MODEL
    model.mkdir()

    def write(model: Path, folder: Path, *arguments: Any) -> None:
        for name, path in (("slower", folder), ("faster", tmp_path / f"{PRUNED}0.3")):
            path.mkdir()
            (path / name).touch()

    monkeypatch.setattr(post_pruning, "_write", write)
    strategy = Strategy({"post_pruning_ratio": 0.3})
    arguments: Any = (model, strategy, None, None, 0)
    pruned = pruned_model(*arguments)
    assert [path.name for path in pruned.iterdir()] == ["faster"]
    assert {path.name for path in tmp_path.iterdir()} == {MODEL, pruned.name}


def test_drafts_of_killed_workers_are_deleted_with_the_model(tmp_path: Path) -> None:
    (tmp_path / f".{PRUNED}0.3.77").mkdir()
    delete_model(tmp_path)
    assert not list(tmp_path.iterdir())
