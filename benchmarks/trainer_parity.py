"""Throughput of a trial's training loop against Hugging Face's ``Trainer``, paired and interleaved.

Both train the same model on the same examples with the same settings, each in a process of its own
that lives for the entire benchmark, and take turns (A B A B ...), so that drift of the machine
affects both alike. A turn is a new fine-tune over one epoch without its first steps. The output is
the mean ratio trial / Trainer of the pairs with its 95% interval::

    python benchmarks/trainer_parity.py                # both comparisons, 8 pairs each
    python benchmarks/trainer_parity.py --pairs 18 --json
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

WARMUP_STEPS = 5


@dataclass(frozen=True)
class Settings:
    """Settings of both sides, and (last) those that only the trial uses."""

    model: str
    dataset: str | dict[str, str]
    examples: int
    batch_size: int
    threads: int
    precision: str
    max_length: int
    device: str = "cpu"
    padding: str = "dynamic"
    allocator: str = "system"


def prepare(settings: Settings) -> Any:
    from autotune.domain import Task
    from autotune.trial.data.datasets import prepare_task

    return prepare_task(
        Task(
            model=settings.model,
            dataset=settings.dataset,
            max_length=settings.max_length,
            train_samples=settings.examples,
        )
    )


def run_trial_turns(settings: Settings, turns: Connection) -> None:
    """Answer each turn (a seed) with the samples per second of a trial's training loop."""
    from autotune import levers
    from autotune.domain import Strategy, Task
    from autotune.hardware import inventory
    from autotune.measure.energy import EnergyMeter
    from autotune.measure.measurements import throughput
    from autotune.trial.data.batching import training_collator
    from autotune.trial.data.datasets import load_split
    from autotune.trial.devices import init_device
    from autotune.trial.plan import plan_training
    from autotune.trial.training import TrainingLoop, init_train_state

    strategy = Strategy(levers.defaults(inventory())).with_values(
        device=settings.device,
        threads=settings.threads,
        allocator=settings.allocator,
        batch_size=settings.batch_size,
        precision=settings.precision,
        padding=settings.padding,
    )
    device = init_device(strategy)
    prepared = prepare(settings)
    collate = training_collator(strategy, prepared, load_split(prepared, "train"), device)
    while (seed := turns.recv()) is not None:
        state = init_train_state(strategy, prepared, collate, seed)
        plan = replace(plan_training(strategy, Task(), collate, seed), rungs=frozenset())
        loop = TrainingLoop(state, plan, EnergyMeter([]))
        windows = []
        while not loop.is_finished:
            windows.append(loop.run_window().window)
        turns.send(throughput("train_samples_per_second", windows).value)


def run_trainer_turns(settings: Settings, turns: Connection) -> None:
    """Answer each turn (a seed) with the samples per second of ``Trainer`` on the batches of a
    trial with dynamic padding."""
    from itertools import islice

    import torch
    from transformers import (
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from autotune.measure.clock import synchronise
    from autotune.trial.data.batching import batch_order
    from autotune.trial.data.datasets import load_split
    from autotune.trial.models import load_model

    torch.set_num_threads(settings.threads)
    device = torch.device(settings.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    prepared = prepare(settings)
    split = load_split(prepared, "train")
    collate = DataCollatorWithPadding(AutoTokenizer.from_pretrained(prepared.model_dir))
    steps = -(-len(split) // settings.batch_size)

    class SameOrderTrainer(Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, train_dataset: Any = None) -> list[int]:
            batches = islice(
                batch_order(split.lengths, settings.batch_size, "dynamic", seed), steps
            )
            return [int(row) for batch in batches for row in batch]

    class Clock(TrainerCallback):  # type: ignore[misc]
        ends: list[float]

        def on_step_end(self, arguments: Any, state: Any, *_: Any, **__: Any) -> None:
            # Wait for the device only where the clock is read, as a trial does at its windows.
            if state.global_step == WARMUP_STEPS or state.global_step == state.max_steps:
                synchronise(device)
            self.ends.append(time.perf_counter())

    while (seed := turns.recv()) is not None:
        clock = Clock()
        clock.ends = []
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                folder, per_device_train_batch_size=settings.batch_size, num_train_epochs=1,
                bf16=settings.precision == "bf16", use_cpu=settings.device == "cpu", report_to=[],
                save_strategy="no", disable_tqdm=True, seed=seed,
            )  # fmt: skip
            arguments._n_gpu = min(arguments.n_gpu, 1)  # as the other side: no DataParallel
            SameOrderTrainer(
                load_model(prepared, seed=seed), arguments, train_dataset=make_rows(split),
                data_collator=collate, callbacks=[clock],
            ).train()  # fmt: skip
        examples = len(split) - WARMUP_STEPS * settings.batch_size
        turns.send(examples / (clock.ends[-1] - clock.ends[WARMUP_STEPS - 1]))


def make_rows(split: Any) -> list[dict[str, Any]]:
    """The examples of a split as ``Trainer`` takes them."""
    bounds = zip(split.offsets[:-1], split.offsets[1:], split.labels, strict=True)
    return [{"input_ids": split.tokens[a:b].tolist(), "labels": int(y)} for a, b, y in bounds]


TurnFunction = Callable[[Settings, Connection], None]


@contextmanager
def start_side(side: TurnFunction, settings: Settings) -> Iterator[Connection]:
    """Run ``side`` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    parent_end, child_end = context.Pipe()
    process = context.Process(target=side, args=(settings, child_end), daemon=True)
    process.start()
    child_end.close()
    try:
        yield parent_end
    finally:
        if process.is_alive():
            parent_end.send(None)
        process.join()


def run_turn(side: Connection, seed: int) -> float:
    side.send(seed)
    return float(side.recv())


def compare(settings: Settings, pairs: int) -> dict[str, Any]:
    """Ratios of ``pairs`` pairs of turns, whose order alternates; the first pair warms up."""
    from autotune.measure import statistics

    speeds: dict[str, list[float]] = {"trial": [], "trainer": []}
    prepare(settings)
    with (
        start_side(run_trial_turns, settings) as trial,
        start_side(run_trainer_turns, settings) as trainer,
    ):
        sides = {"trial": trial, "trainer": trainer}
        for pair in range(pairs + 1):
            for name in list(sides)[:: 1 if pair % 2 else -1]:
                speeds[name].append(run_turn(sides[name], pair))
    ratios = [a / b for a, b in zip(speeds["trial"][1:], speeds["trainer"][1:], strict=True)]
    value, ci95 = statistics.mean(ratios)
    return {
        "ratio": value,
        "ci95": ci95,
        "ratios": ratios,
        "trial_samples_per_second": statistics.median(speeds["trial"][1:])[0],
        "trainer_samples_per_second": statistics.median(speeds["trainer"][1:])[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="A trial's training loop relative to Trainer")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--model", default="builtin:minilm")
    parser.add_argument("--dataset", default="builtin:docstrings", help="or a train.jsonl")
    parser.add_argument("--examples", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=len(_cores()))
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    dataset = options.dataset if ":" in options.dataset else {"train": options.dataset}
    settings = Settings(
        options.model,
        dataset,
        options.examples,
        options.batch_size,
        options.threads,
        options.precision,
        options.max_length,
        options.device,
    )
    results = {
        "dynamic padding": compare(settings, options.pairs),
        "length buckets, tuned allocator": compare(
            replace(settings, padding="bucketed", allocator="tuned"), options.pairs
        ),
    }
    if options.json:
        print(json.dumps(results, indent=1))
        return
    for name, result in results.items():
        low, high = result["ci95"] or (float("nan"), float("nan"))
        print(f"{name:34s} {result['ratio']:.3f}x Trainer  (95%: {low:.3f} to {high:.3f})")


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}


if __name__ == "__main__":
    main()
