"""Feasibility, memory: what the formula knows of a strategy, what the model learns of a host."""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import mean, median

import pytest

from autotune.domain import Strategy, Value
from autotune.domain.search_space import grid
from autotune.search.feasibility.memory import COMPONENTS, MemoryKind, MemoryPhase, memory_phases
from autotune.search.feasibility.memory_model import MemoryModel, Peak
from tests.search.feasible_world import MINILM, OTHERWISE, SPACE, World

DEFAULT = Strategy(SPACE.defaults)
BATCH = {"batch_size": 32, "padding": "fixed"}


def peak(
    anatomy_changes: dict[str, int] | None = None, where: MemoryKind = "host", **s: Value
) -> float:
    anatomy = replace(MINILM, **(anatomy_changes or {}))  # type: ignore[arg-type]
    return max(sum(p) for p in memory_phases(anatomy, DEFAULT.with_values(**{**BATCH, **s}), where))


LIGHTER: list[dict[str, Value]] = [
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


@pytest.mark.parametrize("change", LIGHTER, ids=str)
def test_what_saves_memory_is_predicted_to(change: dict[str, Value]) -> None:
    assert peak(**change) < peak()


@pytest.mark.parametrize(
    "change", [{"optimizer": "adamw"}, {"batch_size": 64}, {"padding": "fixed", "batch_size": 40}],
    ids=str,
)  # fmt: skip
def test_what_costs_memory_is_predicted_to(change: dict[str, Value]) -> None:
    assert peak(**change) > peak()


def test_scores_written_out_grow_with_the_square_of_the_length() -> None:
    def squares(length: int) -> float:
        anatomy = replace(MINILM, max_length=length)
        strategy = DEFAULT.with_values(**BATCH, attention="eager")
        return max(phase[3] for phase in memory_phases(anatomy, strategy, "host"))

    assert squares(256) == pytest.approx(4 * squares(128))


def test_fused_attention_keeps_no_scores_unless_a_cpu_has_to_drop_out() -> None:
    def squares(device: str, dropout: Value) -> float:
        strategy = DEFAULT.with_values(**BATCH, device=device, dropout=dropout)
        where: MemoryKind = "device" if device.startswith("cuda") else "host"
        return max(phase[3] for phase in memory_phases(MINILM, strategy, where))

    assert squares("cpu", 0.0) == 0
    assert squares("cpu", 0.1) > 0
    assert squares("cuda:0", 0.1) == 0


@pytest.mark.parametrize(
    ("parallelism", "less"), [("zero1:2", "ddp:2"), ("fsdp:2", "zero1:2"), ("tp:2", "ddp:2"),
                              ("pp:2", "ddp:2")],
)  # fmt: skip
def test_states_are_divided_as_the_layout_says(parallelism: str, less: str) -> None:
    def states(layout: str) -> float:
        strategy = DEFAULT.with_values(**BATCH, parallelism=layout)
        return memory_phases(MINILM, strategy, "host")[1][1]

    assert states(parallelism) < states(less)


def test_ranks_are_summed() -> None:
    one, two = (
        memory_phases(MINILM, DEFAULT, "host"),
        memory_phases(MINILM, DEFAULT.with_values(parallelism="ddp:2"), "host"),
    )
    assert two[1][0] == pytest.approx(2 * one[1][0])
    assert two[1][1] == pytest.approx(2 * one[1][1])
    assert two[1][2] == pytest.approx(one[1][2], rel=0.01)  # the batch is shared out


def test_what_is_offloaded_moves_to_the_host() -> None:
    def held(where: MemoryKind, offload: str) -> float:
        return peak(where=where, device="cuda:0", offload=offload)

    for offload in ("optimizer", "parameters"):
        assert held("device", offload) < held("device", "none")
        assert held("host", offload) > held("host", "none")


def observed(world: World, strategies: list[Strategy]) -> list[Peak]:
    return [Peak(memory_phases(MINILM, s, "host"), world.peak_gib(s)) for s in strategies]


def shuffled(seed: int) -> list[Strategy]:
    strategies = list(grid(SPACE))
    random.Random(seed).shuffle(strategies)
    return strategies


def error(model: MemoryModel, peaks: list[Peak]) -> float:
    return mean(abs(model.predict(p.phases).value / p.gib - 1) for p in peaks)


def test_ten_trials_bring_predictions_within_fifteen_percent() -> None:
    before, after = [], []
    for seed in range(8):
        peaks = observed(World(seed, noise=0.08), shuffled(seed)[:110])
        before.append(error(MemoryModel(), peaks[10:]))
        after.append(error(MemoryModel(peaks[:10]), peaks[10:]))
    assert max(after) < 0.15
    assert median(after) < median(before)


def test_factors_of_the_host_are_found() -> None:
    model = MemoryModel(observed(World(noise=0.01), shuffled(1)[:200]))
    for name in ("process", "activations", "attention"):
        assert model.factors[name] == pytest.approx(OTHERWISE[name], rel=0.15)


def test_intervals_hold_what_they_promise() -> None:
    held = []
    for seed in range(8):
        peaks = observed(World(seed, noise=0.08), shuffled(seed)[:115])
        model = MemoryModel(peaks[:15])
        found = [(model.predict(p.phases), p.gib) for p in peaks[15:]]
        held += [p.low <= gib <= p.high for p, gib in found]
    assert 0.8 < mean(held) <= 1


def test_an_outlier_is_not_believed() -> None:
    peaks = observed(World(noise=0.03), shuffled(2)[:30])
    wrong = replace(peaks[3], gib=20 * peaks[3].gib)
    calm = MemoryModel([*peaks[:3], wrong, *peaks[4:]])
    assert error(calm, peaks) < 0.12


def test_running_out_of_memory_is_a_lower_bound() -> None:
    phase: MemoryPhase = (0.4, 0.2, 0.8, 0.3, 0.0)
    unknown = MemoryModel().predict([phase]).value
    taught = MemoryModel([Peak((phase,), 1.5 * unknown, bound=True)])
    assert taught.predict([phase]).value > 1.1 * unknown
    told_nothing = MemoryModel([Peak((phase,), 0.5 * unknown, bound=True)])
    assert told_nothing.predict([phase]).value == pytest.approx(unknown)


def test_without_trials_the_formula_stands() -> None:
    assert MemoryModel().factors == dict.fromkeys(COMPONENTS, 1.0)
