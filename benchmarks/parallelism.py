"""Costs and benefits of each kind of parallelism at degree 2, against one process with 2 threads.

Every figure is from a full trial, run by an executor as in a search. Kinds take turns, and each is
compared with the single process of its round::

    python benchmarks/parallelism.py                   # all kinds: speed, memory per rank, start
    python benchmarks/parallelism.py --trainer         # ddp against Trainer under torchrun
    python benchmarks/parallelism.py --rounds 3 --json

Peak memory is per rank. *Beyond idle* excludes the memory of a process that has imported everything
and loaded nothing, which forked ranks share.
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
from autotune.trial import evaluate

KINDS = ("none", "ddp:2", "zero1:2", "fsdp:2", "tp:2", "pp:2")
BATCH, LENGTH = 16, 96
SETTINGS = {"pp:2": {"pipeline_microbatches": 8}}
"""More micro-batches mean less waiting, and fewer examples in a stage at a time."""

TARGETS = "targets: ddp >= 0.95 of the speed; pp <= 0.6 of the memory per rank; start <= 2 s more"
WARMUP_STEPS = 5


@dataclass(frozen=True)
class RunResult:
    """One trial: samples per second, peak GiB of each rank, seconds until the ranks connected."""

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
    resources = levers.required_resources(strategy)
    return Job("parallelism", 0, strategy, task(steps), 0, resources, Limits(), folder)


def run(executor: LocalExecutor, job: Job) -> RunResult:
    outcomes: list[Outcome] = []
    jobs = iter([job])
    start = datetime.now(UTC)
    executor.run(
        lambda: next(jobs, None), evaluate, lambda _, o: outcomes.append(o), lambda *_: None
    )
    outcome = outcomes[0]
    if not isinstance(outcome, Completed):
        raise SystemExit(f"{job.strategy['parallelism']}: {outcome.reason}")
    result = outcome.result
    connected = next(e.time for e in result.events if e.message.startswith("2 data begins"))
    peaks = str(result.environment["peak_memory_gib_by_rank"]).split()
    speed = result.measurements["train_samples_per_second"].value
    seconds = (connected - start).total_seconds()
    run_result = RunResult(speed, [float(peak) for peak in peaks], seconds)
    print(f"{job.strategy['parallelism']}: {run_result}", file=sys.stderr)
    return run_result


def measure(kinds: tuple[str, ...], rounds: int, steps: int) -> dict[str, Any]:
    """Medians over rounds, speeds as ratios to the single process of the same round."""
    executor, host = LocalExecutor(), inventory()
    runs: dict[str, list[RunResult]] = {kind: [] for kind in kinds}
    try:
        with tempfile.TemporaryDirectory() as folder:
            idle = executor.call(resident_gib)
            run(executor, job("none", 4, host, folder))  # prepares the data
            for _ in range(rounds):
                for kind in kinds:
                    runs[kind].append(run(executor, job(kind, steps, host, folder)))
    finally:
        executor.close()
    single_runs = runs["none"]
    return {"idle_gib": idle, "kinds": {k: _summary(runs[k], single_runs, idle) for k in kinds}}


def _summary(runs: list[RunResult], single_runs: list[RunResult], idle: float) -> dict[str, float]:
    largest = statistics.median(max(run.peaks) for run in runs)
    single_peak = statistics.median(max(run.peaks) for run in single_runs)
    return {
        "samples_per_second": statistics.median(run.speed for run in runs),
        "speed": statistics.median(
            run.speed / single.speed for run, single in zip(runs, single_runs, strict=True)
        ),
        "peak_gib_a_rank": largest,
        "peak_gib_sum": statistics.median(sum(run.peaks) for run in runs),
        "memory_a_rank": largest / single_peak,
        "memory_a_rank_beyond_idle": (largest - idle) / (single_peak - idle),
        "start_seconds_more": statistics.median(
            run.start - single.start for run, single in zip(runs, single_runs, strict=True)
        ),
    }


# -------------------------------------------------------------------------- Trainer under torchrun


def train_with_trainer(steps: int) -> None:
    """One rank of ``Trainer`` in DDP; rank 0 writes its samples per second."""
    import torch
    from transformers import AutoTokenizer, DataCollatorWithPadding, Trainer, TrainerCallback
    from transformers import TrainingArguments as Arguments

    from autotune.trial.data.datasets import load_split, prepare_task
    from autotune.trial.models import load_model

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    prepared = prepare_task(task(steps))
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
        connected_at = time.time() if arguments.world_size == 2 else math.nan
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
        Path(os.environ["RESULT"]).write_text(json.dumps([speed, connected_at]), encoding="utf-8")


def torchrun(steps: int) -> RunResult:
    """The same with ``Trainer``, which does not report memory."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "speed.json"
        threads = str(max(1, len(inventory().cores) // 2))
        launched_at = time.time()
        done = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
             __file__, "--as-rank", "--steps", str(steps)],
            env={**os.environ, "OMP_NUM_THREADS": threads, "RESULT": str(result),
                 "GLOO_SOCKET_IFNAME": "lo"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        speed, connected_at = json.loads(result.read_text(encoding="utf-8"))
        return RunResult(speed, [], connected_at - launched_at)


def compare_with_trainer(rounds: int, steps: int) -> dict[str, Any]:
    executor, host = LocalExecutor(), inventory()
    pairs: list[tuple[RunResult, RunResult]] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            run(executor, job("ddp:2", 4, host, folder))
            for _ in range(rounds):
                trainer = torchrun(steps)
                pairs.append((run(executor, job("ddp:2", steps, host, folder)), trainer))
    finally:
        executor.close()
    ratios = [trial.speed / trainer.speed for trial, trainer in pairs]
    return {
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "samples_per_second": [(trial.speed, trainer.speed) for trial, trainer in pairs],
        "start_seconds": [(trial.start, trainer.start) for trial, trainer in pairs],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Kinds of parallelism relative to one process")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS[1:]))
    parser.add_argument("--trainer", action="store_true", help="compare ddp with Trainer in ddp")
    parser.add_argument("--as-rank", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.as_rank:
        train_with_trainer(options.steps)
        return
    if options.trainer:
        result = compare_with_trainer(options.rounds, options.steps)
        trial_starts, trainer_starts = zip(*result["start_seconds"], strict=True)
        text = (
            f"ddp:2, {result['ratio']:.3f}x Trainer in ddp; ranks have connected after "
            f"{statistics.median(trial_starts):.1f} s, those of torchrun after "
            f"{statistics.median(trainer_starts):.1f} s"
        )
        print(json.dumps(result) if options.json else text)
        return
    result = measure(("none", *options.kinds), options.rounds, options.steps)
    if options.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{'':10}{'samples/s':>10}{'speed':>8}{'GiB/rank':>10}{'sum':>7}"
          f"{'of one':>8}{'beyond idle':>13}{'start':>9}")  # fmt: skip
    for kind, summary in result["kinds"].items():
        print(f"{kind:10}{summary['samples_per_second']:10.1f}{summary['speed']:7.2f}x"
              f"{summary['peak_gib_a_rank']:10.2f}{summary['peak_gib_sum']:7.2f}"
              f"{summary['memory_a_rank']:8.2f}{summary['memory_a_rank_beyond_idle']:13.2f}"
              f"{summary['start_seconds_more']:+8.2f}s")  # fmt: skip
    print(f"idle process: {result['idle_gib']:.2f} GiB; {TARGETS}")


if __name__ == "__main__":
    main()
