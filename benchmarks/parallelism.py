"""What each kind of parallelism costs and gives at degree 2, against one process with 2 threads.

Every figure is of a whole trial, run by an executor as a search runs it; kinds take turns, and each
is read against the single process of its own round::

    python benchmarks/parallelism.py                   # all kinds: speed, memory a rank, start
    python benchmarks/parallelism.py --trainer         # ddp against Trainer under torchrun
    python benchmarks/parallelism.py --rounds 3 --json

Peak memory is each rank's own; *beyond idle* leaves out what a process holds that has imported
everything and loaded nothing, which ranks forked from one another share.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autotune import levers
from autotune.domain import Completed, Host, Job, Limits, Outcome, Strategy, Task
from autotune.execution.local import LocalExecutor
from autotune.execution.memory import resident_gib
from autotune.hardware import inventory
from autotune.trial.entry import evaluate

KINDS = ("none", "ddp:2", "zero1:2", "fsdp:2", "tp:2", "pp:2")
BATCH, LENGTH = 16, 96
SETTINGS = {"pp:2": {"pipeline_microbatches": 8}}
"""More pieces wait less for each other, and fewer examples are in a stage at a time."""

TARGETS = "targets: ddp >= 0.95 of the speed; pp <= 0.6 of the memory a rank; start <= 2 s more"
WARMUP_STEPS = 5


@dataclass(frozen=True)
class Run:
    """One trial: examples per second, peak GiB of each rank, seconds until the ranks had met."""

    speed: float
    peaks: list[float]
    start: float


def task(steps: int) -> Task:
    return Task(steps=steps, max_length=LENGTH, validation_samples=64)


def job(kind: str, steps: int, host: Host, folder: str) -> Job:
    threads = len(host.cores) // 2 * (2 if kind == "none" else 1)
    strategy = Strategy(levers.defaults(host)).with_values(
        device="cpu", batch_size=BATCH, padding="fixed", parallelism=kind, threads=threads,
        **SETTINGS.get(kind, {}),
    )  # fmt: skip
    held = levers.resources(strategy)
    return Job("parallelism", 0, strategy, task(steps), 0, held, Limits(), folder)


def run(executor: LocalExecutor, asked: Job) -> Run:
    told: list[Outcome] = []
    jobs = iter([asked])
    began = datetime.now(UTC)
    executor.run(lambda: next(jobs, None), evaluate, lambda _, o: told.append(o), lambda *_: None)
    outcome = told[0]
    if not isinstance(outcome, Completed):
        raise SystemExit(f"{asked.strategy['parallelism']}: {outcome.reason}")
    evidence = outcome.result
    met = next(e.at for e in evidence.events if e.message.startswith("2 data begins"))
    peaks = str(evidence.environment["peak_memory_gib_by_rank"]).split()
    speed = evidence.measurements["train_samples_per_second"].value
    found = Run(speed, [float(peak) for peak in peaks], (met - began).total_seconds())
    print(f"{asked.strategy['parallelism']}: {found}", file=sys.stderr)
    return found


def measure(kinds: tuple[str, ...], rounds: int, steps: int) -> dict[str, Any]:
    """Medians over rounds, speeds as ratios to the single process of the same round."""
    executor, host = LocalExecutor(), inventory()
    runs: dict[str, list[Run]] = {kind: [] for kind in kinds}
    try:
        with tempfile.TemporaryDirectory() as folder:
            idle = executor.call(resident_gib)
            run(executor, job("none", 4, host, folder))  # prepares the data
            for _ in range(rounds):
                for kind in kinds:
                    runs[kind].append(run(executor, job(kind, steps, host, folder)))
    finally:
        executor.close()
    alone = runs["none"]
    return {"idle_gib": idle, "kinds": {k: _summary(runs[k], alone, idle) for k in kinds}}


def _summary(runs: list[Run], alone: list[Run], idle: float) -> dict[str, float]:
    largest = statistics.median(max(run.peaks) for run in runs)
    single = statistics.median(max(run.peaks) for run in alone)
    return {
        "samples_per_second": statistics.median(run.speed for run in runs),
        "speed": statistics.median(
            run.speed / one.speed for run, one in zip(runs, alone, strict=True)
        ),
        "peak_gib_a_rank": largest,
        "peak_gib_sum": statistics.median(sum(run.peaks) for run in runs),
        "memory_a_rank": largest / single,
        "memory_a_rank_beyond_idle": (largest - idle) / (single - idle),
        "start_seconds_more": statistics.median(
            run.start - one.start for run, one in zip(runs, alone, strict=True)
        ),
    }


# -------------------------------------------------------------------------- Trainer under torchrun


def train_with_trainer(steps: int) -> None:
    """One rank of ``Trainer`` in DDP; rank 0 prints its examples per second."""
    import torch
    from transformers import AutoTokenizer, DataCollatorWithPadding, Trainer, TrainerCallback
    from transformers import TrainingArguments as Arguments

    from autotune.trial.data.datasets import load_split, prepare
    from autotune.trial.models import load_model

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    prepared = prepare(task(steps))
    split = load_split(prepared, "train")
    bounds = zip(split.offsets[:-1], split.offsets[1:], split.labels, strict=True)
    dataset = [{"input_ids": split.tokens[a:b].tolist(), "labels": int(y)} for a, b, y in bounds]
    tokenizer = AutoTokenizer.from_pretrained(prepared.model_dir)
    collate = DataCollatorWithPadding(tokenizer, padding="max_length", max_length=LENGTH)
    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        arguments = Arguments(
            folder,
            per_device_train_batch_size=BATCH // 2,
            max_steps=steps,
            use_cpu=True,
            ddp_backend="gloo",
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        )
        met = time.time() if arguments.world_size == 2 else math.nan
        Trainer(
            load_model(prepared),
            arguments,
            train_dataset=dataset,
            data_collator=collate,
            callbacks=[Clock()],
        ).train()
    if os.environ["RANK"] == "0":
        timed = len(ends) - WARMUP_STEPS
        speed = timed * BATCH / (ends[-1] - ends[WARMUP_STEPS - 1])
        Path(os.environ["RESULT"]).write_text(json.dumps([speed, met]), encoding="utf-8")


def torchrun(steps: int) -> Run:
    """The same by ``Trainer``, which does not say what it holds."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "speed.json"
        threads = str(max(1, len(inventory().cores) // 2))
        launched = time.time()
        done = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
             __file__, "--as-rank", "--steps", str(steps)],
            env={**os.environ, "OMP_NUM_THREADS": threads, "RESULT": str(result),
                 "GLOO_SOCKET_IFNAME": "lo"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        speed, met = json.loads(result.read_text(encoding="utf-8"))
        return Run(speed, [], met - launched)


def against_trainer(rounds: int, steps: int) -> dict[str, Any]:
    executor, host = LocalExecutor(), inventory()
    pairs: list[tuple[Run, Run]] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            run(executor, job("ddp:2", 4, host, folder))
            for _ in range(rounds):
                theirs = torchrun(steps)
                pairs.append((run(executor, job("ddp:2", steps, host, folder)), theirs))
    finally:
        executor.close()
    ratios = [ours.speed / theirs.speed for ours, theirs in pairs]
    return {
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "samples_per_second": [(ours.speed, theirs.speed) for ours, theirs in pairs],
        "start_seconds": [(ours.start, theirs.start) for ours, theirs in pairs],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Kinds of parallelism against one process")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS[1:]))
    parser.add_argument("--trainer", action="store_true", help="ddp against Trainer in ddp")
    parser.add_argument("--as-rank", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.as_rank:
        train_with_trainer(asked.steps)
        return
    if asked.trainer:
        result = against_trainer(asked.rounds, asked.steps)
        ours, theirs = zip(*result["start_seconds"], strict=True)
        text = (
            f"ddp:2, {result['ratio']:.3f}x Trainer in ddp; ranks have met after "
            f"{statistics.median(ours):.1f} s, those of torchrun after "
            f"{statistics.median(theirs):.1f} s"
        )
        print(json.dumps(result) if asked.json else text)
        return
    result = measure(("none", *asked.kinds), asked.rounds, asked.steps)
    if asked.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{'':10}{'samples/s':>10}{'speed':>8}{'GiB/rank':>10}{'sum':>7}"
          f"{'of one':>8}{'beyond idle':>13}{'start':>9}")  # fmt: skip
    for kind, found in result["kinds"].items():
        print(f"{kind:10}{found['samples_per_second']:10.1f}{found['speed']:7.2f}x"
              f"{found['peak_gib_a_rank']:10.2f}{found['peak_gib_sum']:7.2f}"
              f"{found['memory_a_rank']:8.2f}{found['memory_a_rank_beyond_idle']:13.2f}"
              f"{found['start_seconds_more']:+8.2f}s")  # fmt: skip
    print(f"idle process: {result['idle_gib']:.2f} GiB; {TARGETS}")


if __name__ == "__main__":
    main()
