"""The memory formula, and the memory model that is fitted to measured peaks."""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import mean, median

import pytest

from autotune.domain import Strategy, Value
from autotune.domain.host import GIB
from autotune.domain.search_space import grid
from autotune.tuner.feasibility.memory import (
    COMPONENTS,
    MemoryFootprint,
    MemoryKind,
    memory_footprints,
)
from autotune.tuner.feasibility.memory_model import MemoryModel, Peak
from autotune.tuner.feasibility.shapes import FLOAT_BYTES
from tests.tuner.feasible_world import HOST_FACTORS, MINILM, SPACE, World

DEFAULT = Strategy(SPACE.defaults)
BATCH = {"batch_size": 32, "padding": "fixed"}


def peak_gib(kind: MemoryKind = "host", **values: Value) -> float:
    strategy = DEFAULT.with_values(**{**BATCH, **values})
    return max(map(sum, memory_footprints(MINILM, strategy, kind)))


REDUCTIONS: list[dict[str, Value]] = [
    {"batch_size": 8},
    {"micro_batch_size": 8},
    {"padding": "dynamic", "batch_size": 31},
    {"activation_checkpointing": True},
    {"dropout": 0.0},
    {"optimizer": "sgd"},
    {"pruning_ratio": 0.5},
    {"pruning_ratio": 0.5, "pruning_method": "layers"},
    {"freeze_layers": 3},
    {"precision": "bf16-pure", "padding": "fixed"},
]


@pytest.mark.parametrize("values", REDUCTIONS, ids=str)
def test_settings_that_save_memory_lower_the_peak(values: dict[str, Value]) -> None:
    assert peak_gib(**values) < peak_gib()


@pytest.mark.parametrize(
    "values", [{"optimizer": "adamw"}, {"batch_size": 64}, {"padding": "fixed", "batch_size": 40},
               {"quantization_aware": True}],
    ids=str,
)  # fmt: skip
def test_settings_that_cost_memory_raise_the_peak(values: dict[str, Value]) -> None:
    assert peak_gib(**values) > peak_gib()


def test_gradual_pruning_trains_the_unpruned_model_at_set_up() -> None:
    pruned: dict[str, Value] = {"pruning_ratio": 0.75, "batch_size": 8, "padding": "dynamic"}
    one_shot, warmed_up, gradual = (
        peak_gib(**pruned, pruning_schedule=schedule)
        for schedule in ("one-shot", "after-warmup", "gradual")
    )
    assert one_shot == warmed_up < gradual


@pytest.mark.parametrize("optimizer", ["adamw-fused", "sgd"])
def test_only_the_trained_weights_of_an_adapter_have_gradients_and_states(optimizer: str) -> None:
    """Activations stay, but for the inputs of frozen matrices."""
    settings: dict[str, Value] = {**BATCH, "optimizer": optimizer, "adapter": "lora"}
    strategy = DEFAULT.with_values(**settings, adapter_rank=8, adapter_targets="attention")
    rank, hidden = 8, MINILM.hidden
    trained = MINILM.layers * 2 * rank * (hidden + hidden) + MINILM.head_parameters
    numbers = 2 + (optimizer == "adamw-fused")  # gradients; momentum, and variance
    _, training, _ = memory_footprints(MINILM, strategy, "host")
    states = FLOAT_BYTES * (MINILM.parameters + numbers * trained) / GIB
    assert training[1] == pytest.approx(states, rel=1e-9)
    _, full, _ = memory_footprints(MINILM, strategy.with_values(adapter="none"), "host")
    assert full[1] == pytest.approx(FLOAT_BYTES * (1 + numbers) * MINILM.parameters / GIB)
    assert 0.75 < training[2] / full[2] < 1.0
    assert training[3] == pytest.approx(0.8 * full[3])


def test_eager_attention_grows_with_the_square_of_the_length() -> None:
    def attention_gib(length: int) -> float:
        profile = replace(MINILM, max_length=length)
        strategy = DEFAULT.with_values(**BATCH, attention="eager")
        return max(footprint[3] for footprint in memory_footprints(profile, strategy, "host"))

    assert attention_gib(256) == pytest.approx(4 * attention_gib(128))


def test_fused_attention_keeps_no_scores_except_with_dropout_on_a_cpu() -> None:
    def attention_gib(device: str, dropout: Value) -> float:
        strategy = DEFAULT.with_values(**BATCH, device=device, dropout=dropout)
        kind: MemoryKind = "device" if device.startswith("cuda") else "host"
        return max(footprint[3] for footprint in memory_footprints(MINILM, strategy, kind))

    assert attention_gib("cpu", 0.0) == 0
    assert attention_gib("cpu", 0.1) > 0
    assert attention_gib("cuda:0", 0.1) == 0


@pytest.mark.parametrize(
    ("parallelism", "baseline"), [("zero1:2", "ddp:2"), ("fsdp:2", "zero1:2"), ("tp:2", "ddp:2"),
                              ("pp:2", "ddp:2")],
)  # fmt: skip
def test_states_are_sharded_by_the_layout(parallelism: str, baseline: str) -> None:
    def states_gib(layout: str) -> float:
        strategy = DEFAULT.with_values(**BATCH, parallelism=layout)
        return memory_footprints(MINILM, strategy, "host")[1][1]

    assert states_gib(parallelism) < states_gib(baseline)


def test_the_footprint_is_the_sum_over_ranks() -> None:
    one, two = (
        memory_footprints(MINILM, DEFAULT, "host"),
        memory_footprints(MINILM, DEFAULT.with_values(parallelism="ddp:2"), "host"),
    )
    assert two[1][0] == pytest.approx(2 * one[1][0])
    assert two[1][1] == pytest.approx(2 * one[1][1])
    assert two[1][2] == pytest.approx(one[1][2], rel=0.01)  # each rank has half of the batch


def test_offloading_moves_memory_to_the_host() -> None:
    def offloaded_peak(kind: MemoryKind, offload: str) -> float:
        return peak_gib(kind, device="cuda:0", offload=offload)

    for offload in ("optimizer", "parameters"):
        assert offloaded_peak("device", offload) < offloaded_peak("device", "none")
        assert offloaded_peak("host", offload) > offloaded_peak("host", "none")


def test_embeddings_on_the_cpu_are_in_host_memory() -> None:
    def peak(kind: MemoryKind, placement: str, frozen: int = 0) -> float:
        return peak_gib(kind, device="cuda:0", placement=placement, freeze_layers=frozen)

    for frozen in (0, 1):
        on_device = peak("device", "single", frozen) - peak("device", "embeddings-on-cpu", frozen)
        on_host = peak("host", "embeddings-on-cpu", frozen) - peak("host", "single", frozen)
        copies = 1 if frozen else 4  # weights, gradients and two states of AdamW
        expected = copies * 4 * MINILM.embedding_parameters / 2**30
        assert on_host == pytest.approx(expected)
        assert on_device >= 0.9 * expected


def test_a_rank_on_the_cpu_needs_no_memory_of_the_gpu() -> None:
    both = {"device": "cuda:0", "parallelism": "ddp:2"}
    single = memory_footprints(MINILM, DEFAULT.with_values(**both, placement="mixed"), "device")
    double = memory_footprints(MINILM, DEFAULT.with_values(**both), "device")
    assert 2 * single[1][1] == pytest.approx(double[1][1])


def measured_peaks(world: World, strategies: list[Strategy]) -> list[Peak]:
    return [Peak(memory_footprints(MINILM, s, "host"), world.peak_gib(s)) for s in strategies]


def shuffled(seed: int) -> list[Strategy]:
    strategies = list(grid(SPACE))
    random.Random(seed).shuffle(strategies)
    return strategies


def error(model: MemoryModel, peaks: list[Peak]) -> float:
    return mean(abs(model.predict(p.footprints).value / p.gib - 1) for p in peaks)


def test_ten_trials_bring_predictions_within_fifteen_percent() -> None:
    prior_errors, errors = [], []
    for seed in range(8):
        peaks = measured_peaks(World(seed, noise=0.08), shuffled(seed)[:110])
        prior_errors.append(error(MemoryModel(), peaks[10:]))
        errors.append(error(MemoryModel(peaks[:10]), peaks[10:]))
    assert max(errors) < 0.15
    assert median(errors) < median(prior_errors)


def test_the_factors_of_the_host_are_recovered() -> None:
    model = MemoryModel(measured_peaks(World(noise=0.01), shuffled(1)[:200]))
    for name in ("process", "activations", "attention"):
        assert model.factors[name] == pytest.approx(HOST_FACTORS[name], rel=0.15)


def test_intervals_cover_the_measured_peaks() -> None:
    covered = []
    for seed in range(8):
        peaks = measured_peaks(World(seed, noise=0.08), shuffled(seed)[:115])
        model = MemoryModel(peaks[:15])
        predictions = [(model.predict(p.footprints), p.gib) for p in peaks[15:]]
        covered += [p.low <= gib <= p.high for p, gib in predictions]
    assert 0.8 < mean(covered) <= 1


def test_an_outlier_has_little_weight() -> None:
    peaks = measured_peaks(World(noise=0.03), shuffled(2)[:30])
    wrong = replace(peaks[3], gib=20 * peaks[3].gib)
    model = MemoryModel([*peaks[:3], wrong, *peaks[4:]])
    assert error(model, peaks) < 0.12


def test_an_out_of_memory_trial_is_a_lower_bound() -> None:
    footprint: MemoryFootprint = (0.4, 0.2, 0.8, 0.3, 0.0)
    prior = MemoryModel().predict([footprint]).value
    exceeded = MemoryModel([Peak((footprint,), 1.5 * prior, is_lower_bound=True)])
    assert exceeded.predict([footprint]).value > 1.1 * prior
    satisfied = MemoryModel([Peak((footprint,), 0.5 * prior, is_lower_bound=True)])
    assert satisfied.predict([footprint]).value == pytest.approx(prior)


def test_without_trials_the_factors_are_one() -> None:
    assert MemoryModel().factors == dict.fromkeys(COMPONENTS, 1.0)
