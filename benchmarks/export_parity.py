"""Training throughput of exported folders relative to their trial, on SST-2.

The trials are the fastest, the knee and the most accurate one of a search. A trial and its exports
to each trainer train in processes of their own, but never concurrently: they take turns of half a
second between two steps, so that drift of the machine affects all alike. All train on the same
batches, so the times of the same steps are compared, without the warm-up. The output is the ratio
of speeds, export / trial, over all steps, with a 95% interval by the jackknife over eighths of a
run, and whether accuracy is within the interval of the trial::

    python benchmarks/export_parity.py                    # runs a search first
    python benchmarks/export_parity.py --trial knee --format torchrun --rounds 1

The folder stores the search, the exports and every round. Existing rounds are not measured again,
so a long benchmark can be interrupted, and a trial that is chosen twice is measured once. The data
is read from ``AUTOTUNE_DATA``, by default ``../shared/data``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import turns

from autotune.domain import CurvePoint, Job, Limits, Study, Trial
from autotune.measure import statistics

ROOT = Path(__file__).parents[1]
PICKS = ("fastest", "knee", "most-accurate")
FORMATS = ("hf-trainer", "accelerate", "torchrun", "lightning", "ray-train")
STUDY = "sst2"
WARMUP_STEPS = 5
JACKKNIFE_PARTS = 8
TEST_EXAMPLES = 16
"""Test examples of an export. The trial does not use the test split, so that most are removed."""

TURN_TAKING_CODE = '''

from tuned.turns import TurnClient

_add = {recorder}.add


def _add_and_wait(self, window):
    """A window is one step here; other processes have their turn between two of them."""
    _add(self, window)
    if len(self.windows) == 1:
        self.turns = TurnClient({address!r}, {name!r})
    self.turns.step(window.seconds, last=len(self.windows) == self._total_steps)


{recorder}.add = _add_and_wait
'''


@dataclass(frozen=True)
class Round:
    """Seconds of each step of an exported folder and of its trial."""

    pick: str
    trial: int
    format: str
    seconds: list[float]
    trial_seconds: list[float]
    accuracy: float
    promised_accuracy: tuple[float, float]

    def parts(self) -> list[tuple[float, float]]:
        """Seconds of the trial and of the export, in parts of the run."""
        steps = len(self.seconds)
        begin = min(WARMUP_STEPS, steps // 4)
        parts = min(JACKKNIFE_PARTS, steps - begin)
        ends = [begin + (steps - begin) * n // parts for n in range(parts + 1)]
        spans = [slice(*pair) for pair in pairwise(ends)]
        return [(sum(self.trial_seconds[span]), sum(self.seconds[span])) for span in spans]


def search(storage: str, folder: Path, options: argparse.Namespace) -> None:
    """A short search of the bundled study on SST-2; continues an interrupted one."""
    data = Path(os.environ.get("AUTOTUNE_DATA", ROOT.parent / "shared/data")).resolve() / "sst2"
    settings = {
        **{f"task.dataset.{s}": data / f"{s}.jsonl" for s in ("train", "validation", "test")},
        "task.model": options.model,
        "task.train_samples": options.examples,
        "task.validation_samples": 872,
        "space.device": f"[{options.device}]",
        "budget.trials": options.trials,
        "budget.minutes": 60,
    }
    command = ["search", "bert", "--study", STUDY, "--storage", storage]
    command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    environment = {**os.environ, "AUTOTUNE_RUNS": str(folder / "runs")}
    subprocess.run(
        [sys.executable, "-m", "autotune", *command], cwd=ROOT, env=environment, check=True
    )


def run_trial(job_file: str, address: str) -> None:
    """Run the trial in this process as ``python -m autotune.trial`` does, in turns."""
    from autotune.export.templates.device import pin_cores
    from autotune.trial import evaluate, training
    from autotune.trial.effects import allocator
    from autotune.trial.job_files import read_job

    job = read_job(Path(job_file))
    pin_cores(job.strategy, local_rank=0)
    allocator.apply(str(job.strategy["allocator"]))
    training.WINDOW_SECONDS = 0.0
    clients: list[turns.TurnClient] = []
    previous_step, previous_seconds = 0, 0.0

    def report(point: CurvePoint) -> None:
        nonlocal previous_step, previous_seconds
        if not clients:
            clients.append(turns.TurnClient(address, "trial"))
        if point.step == previous_step:
            return  # the scores of a rung are reported after its step
        is_last = point.step == point.total_steps
        clients[0].step(point.seconds - previous_seconds, last=is_last)
        previous_step, previous_seconds = point.step, point.seconds

    evaluate(job, report)


def export_with_turns(study: Study, trial: Trial, name: str, folder: Path, address: str) -> Path:
    """A new export that takes turns between its steps."""
    from autotune.export import exporter, vendoring
    from autotune.export.templates import metrics
    from autotune.trial import training

    exporter(name, overwrite=True).export(study, trial, folder)
    with (folder / "data/test.jsonl").open("r+", encoding="utf-8") as file:
        lines = "".join(islice(file, TEST_EXAMPLES))
        file.seek(0)
        file.write(lines)
        file.truncate()
    shutil.copyfile(Path(turns.__file__), folder / "tuned/turns.py")
    paths = [folder / str(vendoring.vendored_path(m.__name__)) for m in (metrics, training)]
    for path in paths:
        if path.exists():  # end a window with every step
            text, count = re.subn(
                r"(?m)^WINDOW_SECONDS = .*$", "WINDOW_SECONDS = 0.0", path.read_text()
            )
            assert count == 1, path
            path.write_text(text)
    recorder = metrics.ThroughputRecorder.__name__
    with paths[0].open("a", encoding="utf-8") as file:
        file.write(TURN_TAKING_CODE.format(recorder=recorder, address=address, name=name))
    return folder


def run_round(
    study: Study, trial: Trial, pick: str, formats: Sequence[str], folder: Path
) -> list[Round]:
    """One round: the trial and each format, in turns."""
    from pydantic import TypeAdapter

    from autotune.export.verify import launchable, read_folder
    from autotune.levers import required_resources

    job = Job(
        study.name, trial.number, trial.strategy, study.task, trial.seed,
        required_resources(trial.strategy), Limits(), str(folder / "again"),
    )  # fmt: skip
    (folder / "job.json").write_bytes(TypeAdapter(Job).dump_json(job))
    running = []
    with (
        tempfile.TemporaryDirectory(prefix="turns-") as socket_folder,  # paths: at most 108 bytes
        socket.socket(socket.AF_UNIX) as listener,
        (folder / "log.txt").open("w") as log,
    ):
        address = f"{socket_folder}/turns"
        listener.bind(address)
        listener.listen()
        trial_command = [sys.executable, __file__, "--as-trial", str(folder / "job.json"), address]
        trial_process = subprocess.Popen(trial_command, cwd=ROOT, stdout=log, stderr=log)
        for name in formats:
            export_folder = export_with_turns(
                study, trial, name, folder / f"{pick}-{name}", address
            )
            command = launchable(read_folder(export_folder)["command"])
            running.append(subprocess.Popen(command, cwd=export_folder, stdout=log, stderr=log))
        try:
            seconds = turns.take_turns(listener, [trial_process, *running])
            trial_process.kill()  # its evaluation is known
            if len({len(steps) for steps in seconds.values()}) != 1:
                raise SystemExit("the processes trained for different numbers of steps")
            if any(process.wait() for process in running):
                raise SystemExit(f"an exported command failed; see {log.name}")
        finally:
            for process in (trial_process, *running):
                process.kill()
                process.wait()
    ends = trial.result.measurements["accuracy"].ci95 or (0.0, 1.0)
    return [
        Round(pick, trial.number, name, seconds[name], seconds["trial"],
              _accuracy(folder / f"{pick}-{name}"), ends)
        for name in formats
    ]  # fmt: skip


def _accuracy(folder: Path) -> float:
    metrics = json.loads((folder / "metrics.json").read_bytes())
    return float(metrics["validation"]["accuracy"]["value"])


def summarise(pick: str, rounds: Sequence[Round]) -> dict[str, Any]:
    """The result of all rounds of a trial, which is chosen as ``pick``, in a format."""
    first = rounds[0]
    value, ci95 = speed_ratio([part for round_ in rounds for part in round_.parts()])
    accuracy = statistics.mean([round_.accuracy for round_ in rounds])[0]
    low, high = first.promised_accuracy
    return {
        "pick": pick, "trial": first.trial, "format": first.format, "rounds": len(rounds),
        "ratio": value, "ci95": ci95, "accuracy": accuracy, "promised_accuracy": (low, high),
        "within": low <= accuracy <= high,
    }  # fmt: skip


def speed_ratio(parts: Sequence[tuple[float, float]]) -> tuple[float, tuple[float, float]]:
    """The total of the first seconds of all pairs over that of the second, with its 95% interval.

    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 11.
    """
    pairs = np.array(parts)
    trial_total, export_total = pairs.sum(axis=0)
    jackknife = (trial_total - pairs[:, 0]) / (export_total - pairs[:, 1])
    count = len(pairs)
    error = math.sqrt((count - 1) / count * float(((jackknife - jackknife.mean()) ** 2).sum()))
    half = statistics.t_quantile(count - 1) * error
    ratio = float(trial_total / export_total)
    return ratio, (ratio - half, ratio + half)


def format_summary(line: dict[str, Any]) -> str:
    ends = "{:.1%} to {:.1%}".format(*line["promised_accuracy"])
    return (
        f"{line['pick']:14s}trial {line['trial']:<3d}{line['format']:11s}"
        f"{line['ratio']:.3f}x the trial ({line['ci95'][0]:.3f} to {line['ci95'][1]:.3f})  "
        f"accuracy {line['accuracy']:.1%} {'within' if line['within'] else 'OUTSIDE'} {ends}"
    )


class Results:
    """Rounds, stored in a file with one line per round."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._rounds = [Round(**json.loads(line)) for line in lines]

    def select(self, trial: int, name: str) -> list[Round]:
        return [c for c in self._rounds if (c.trial, c.format) == (trial, name)]

    def add(self, rounds: Sequence[Round]) -> None:
        self._rounds += rounds
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(round_)) + "\n" for round_ in rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Throughput of exported folders relative to their trial"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("parity"), help="stores search, exports and rounds"
    )
    parser.add_argument("--trial", action="append", help=f"default: {', '.join(PICKS)}")
    parser.add_argument("--format", action="append", help=f"default: {', '.join(FORMATS)}")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of each trial and format")
    parser.add_argument("--trials", type=int, default=10, help="trials of the search")
    parser.add_argument("--examples", type=int, default=800, help="training examples")
    parser.add_argument("--model", default="builtin:minilm", help="of the search: name or folder")
    parser.add_argument("--device", default="cpu", help="of the search: cpu or cuda:0")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--as-trial", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_trial:
        run_trial(*options.as_trial)
        return
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    measure(options, folder)


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Run the requested rounds that do not exist yet."""
    from autotune.analysis.select import select_trial
    from autotune.store import open_store

    storage = f"sqlite:///{folder / 'parity.db'}"
    results = Results(folder / "results.jsonl")
    if not (folder / "results.jsonl").exists():
        search(storage, folder, options)
    store = open_store(storage, read_only=True)
    study, trials = store.study(STUDY), store.trials(STUDY)
    formats, ratios = options.format or FORMATS, []
    for pick in options.trial or PICKS:
        trial = store.trial(STUDY, select_trial(study, trials, pick).number)
        number = trial.number
        while missing := [f for f in formats if len(results.select(number, f)) < options.rounds]:
            done = min(len(results.select(number, f)) for f in missing)
            print(f"{pick}, trial {number}, round {done + 1} of {options.rounds}: "
                  f"{', '.join(missing)}", file=sys.stderr, flush=True)  # fmt: skip
            results.add(run_round(study, trial, pick, missing, folder))
        for line in (summarise(pick, results.select(number, name)) for name in formats):
            ratios.append(line["ratio"])
            print(json.dumps(line) if options.json else format_summary(line), flush=True)
    store.close()
    if not options.json:
        print(f"median {np.median(ratios):.3f}x, {min(ratios):.3f}x to {max(ratios):.3f}x")


if __name__ == "__main__":
    main()
