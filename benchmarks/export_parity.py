"""How fast exported folders train against the trial that they come from, on SST-2.

For the fastest, the knee and the most accurate trial of a search, the trial and its exports to each
trainer train side by side in processes of their own, but never at the same time: they take turns of
half a second, between two steps, so that drift of the machine meets all alike. All of them train on
the same batches, so the times of the same steps are compared, warm-up left out. Printed are the
ratios of speed exported / trial over all steps, with a 95% interval by leaving out one eighth of a
run at a time (jackknife), and whether accuracy is within the interval of the trial::

    python benchmarks/export_parity.py --folder parity    # a search first, then all of it
    python benchmarks/export_parity.py --folder parity --trial knee --format torchrun --rounds 1

The folder keeps the search, the exports and every round. What is there is not measured again: a
long benchmark can be had in pieces. The data is looked for in ``AUTOTUNE_DATA``, then in
``../shared/data``.
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
PARTS = 8
JUDGED = 16

TAKING_TURNS = '''

from tuned.turns import Seat

_add = Recorder.add


def _add_and_wait(self, window):
    """A window is a step here; between two of them others have their turn."""
    _add(self, window)
    if len(self.windows) == 1:
        self.seat = Seat({address!r}, {name!r})
    self.seat.step(window.seconds, last=len(self.windows) == self._steps)


Recorder.add = _add_and_wait
'''


@dataclass(frozen=True)
class Round:
    """Seconds of each step of an exported folder and of its trial beside it."""

    pick: str
    trial: int
    format: str
    seconds: list[float]
    trial_seconds: list[float]
    accuracy: float
    promised_accuracy: tuple[float, float]

    def parts(self) -> list[tuple[float, float]]:
        """Seconds of the trial and of the folder, in parts of the run."""
        steps = len(self.seconds)
        begin = min(WARMUP_STEPS, steps // 4)
        parts = min(PARTS, steps - begin)
        ends = [begin + (steps - begin) * n // parts for n in range(parts + 1)]
        spans = [slice(*pair) for pair in pairwise(ends)]
        return [(sum(self.trial_seconds[span]), sum(self.seconds[span])) for span in spans]


def search(storage: str, folder: Path, trials: int, examples: int) -> None:
    """A short search of the shipped study on SST-2, or the rest of one."""
    data = Path(os.environ.get("AUTOTUNE_DATA", ROOT.parent / "shared/data")).resolve() / "sst2"
    settings = {
        **{f"task.dataset.{s}": data / f"{s}.jsonl" for s in ("train", "validation", "test")},
        "task.train_samples": examples,
        "task.validation_samples": 872,
        "budget.trials": trials,
        "budget.minutes": 60,
    }
    command = ["search", "bert", "--study", STUDY, "--storage", storage]
    command += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    environment = {**os.environ, "AUTOTUNE_RUNS": str(folder / "runs")}
    subprocess.run(
        [sys.executable, "-m", "autotune", *command], cwd=ROOT, env=environment, check=True
    )


def run_trial(job_file: str, address: str) -> None:
    """This process as the trial: what ``python -m autotune.trial`` does, in turns."""
    from autotune.export.templates.device import pin_cores
    from autotune.trial import training
    from autotune.trial.job_files import read_job
    from autotune.trial.effects import allocator
    from autotune.trial import evaluate

    job = read_job(Path(job_file))
    pin_cores(job.strategy, local_rank=0)
    allocator.apply(str(job.strategy["allocator"]))
    training.WINDOW_SECONDS = 0.0
    seats: list[turns.Seat] = []
    done = 0.0

    def report(point: CurvePoint) -> None:
        nonlocal done
        if not seats:
            seats.append(turns.Seat(address, "trial"))
        seats[0].step(point.seconds - done, last=point.step == point.total_steps)
        done = point.seconds

    evaluate(job, report)


def exported(study: Study, trial: Trial, name: str, folder: Path, address: str) -> Path:
    """A fresh export that takes turns between its steps."""
    from autotune.export import exporter

    exporter(name).export(study, trial, folder)
    with (folder / "data/test.jsonl").open("r+", encoding="utf-8") as file:
        first = "".join(islice(file, JUDGED))  # what the trial did not judge takes no time here
        file.seek(0)
        file.write(first)
        file.truncate()
    code = folder / "tuned"
    shutil.copyfile(Path(turns.__file__), code / "turns.py")
    for path in (code / "recording.py", code / "trial/training.py"):
        if path.exists():  # a window is to end with every step
            text, count = re.subn(
                r"(?m)^WINDOW_SECONDS = .*$", "WINDOW_SECONDS = 0.0", path.read_text()
            )
            assert count == 1, path
            path.write_text(text)
    with (code / "recording.py").open("a", encoding="utf-8") as file:
        file.write(TAKING_TURNS.format(address=address, name=name))
    return folder


def side_by_side(
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
        tempfile.TemporaryDirectory(prefix="turns-") as short,  # of a socket's path, 108 bytes
        socket.socket(socket.AF_UNIX) as listener,
        (folder / "log.txt").open("w") as log,
    ):
        address = f"{short}/turns"
        listener.bind(address)
        listener.listen()
        itself = [sys.executable, __file__, "--as-trial", str(folder / "job.json"), address]
        side = subprocess.Popen(itself, cwd=ROOT, stdout=log, stderr=log)
        for name in formats:
            place = exported(study, trial, name, folder / f"{pick}-{name}", address)
            command = launchable(read_folder(place)["command"])
            running.append(subprocess.Popen(command, cwd=place, stdout=log, stderr=log))
        try:
            seconds = turns.take_turns(listener, [side, *running])
            side.kill()  # what it would evaluate is known
            if any(process.wait() for process in running):
                raise SystemExit(f"an exported command failed; see {log.name}")
        finally:
            for process in (side, *running):
                process.kill()
                process.wait()
    ends = trial.result.measurements["accuracy"].ci95 or (0.0, 1.0)
    return [
        Round(pick, trial.number, name, seconds[name], seconds["trial"],
              _accuracy(folder / f"{pick}-{name}"), ends)
        for name in formats
    ]  # fmt: skip


def _accuracy(place: Path) -> float:
    found = json.loads((place / "metrics.json").read_bytes())
    return float(found["validation"]["accuracy"]["value"])


def summary(found: Sequence[Round]) -> dict[str, Any]:
    """All rounds of a pick through a format."""
    one = found[0]
    value, ci95 = faster([part for round_ in found for part in round_.parts()])
    accuracy = statistics.mean([round_.accuracy for round_ in found])[0]
    low, high = one.promised_accuracy
    return {
        "pick": one.pick, "trial": one.trial, "format": one.format, "rounds": len(found),
        "ratio": value, "ci95": ci95, "accuracy": accuracy, "promised_accuracy": (low, high),
        "within": low <= accuracy <= high,
    }  # fmt: skip


def faster(parts: Sequence[tuple[float, float]]) -> tuple[float, tuple[float, float]]:
    """How many times faster the second of each pair of seconds is in all, and its 95% interval.

    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 11.
    """
    pairs = np.array(parts)
    theirs, own = pairs.sum(axis=0)
    without = (theirs - pairs[:, 0]) / (own - pairs[:, 1])
    count = len(pairs)
    error = math.sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum()))
    half = statistics.t_quantile(count - 1) * error
    ratio = float(theirs / own)
    return ratio, (ratio - half, ratio + half)


def in_words(line: dict[str, Any]) -> str:
    ends = "{:.1%} to {:.1%}".format(*line["promised_accuracy"])
    return (
        f"{line['pick']:14s}trial {line['trial']:<3d}{line['format']:11s}"
        f"{line['ratio']:.3f}x the trial ({line['ci95'][0]:.3f} to {line['ci95'][1]:.3f})  "
        f"accuracy {line['accuracy']:.1%} {'within' if line['within'] else 'OUTSIDE'} {ends}"
    )


class Results:
    """Rounds, kept in a file a line each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._found = [Round(**json.loads(line)) for line in lines]

    def of(self, pick: str, name: str) -> list[Round]:
        return [c for c in self._found if (c.pick, c.format) == (pick, name)]

    def add(self, found: Sequence[Round]) -> None:
        self._found += found
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(one)) + "\n" for one in found)


def main() -> None:
    parser = argparse.ArgumentParser(description="Exported folders against the trial's promise")
    parser.add_argument("--folder", type=Path, help="where all is kept")
    parser.add_argument("--trial", action="append", help=f"default: {', '.join(PICKS)}")
    parser.add_argument("--format", action="append", help=f"default: {', '.join(FORMATS)}")
    parser.add_argument("--rounds", type=int, default=2, help="of each, in all")
    parser.add_argument("--trials", type=int, default=10, help="of the search")
    parser.add_argument("--examples", type=int, default=800, help="of training")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--as-trial", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.as_trial:
        run_trial(*asked.as_trial)
        return
    if asked.folder is None:
        parser.error("--folder is required")
    folder = asked.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    measure(asked, folder)


def measure(asked: argparse.Namespace, folder: Path) -> None:
    """All rounds that are asked for and not there yet."""
    from autotune.analysis.select import select_trial
    from autotune.store import open_store

    storage = f"sqlite:///{folder / 'parity.db'}"
    results = Results(folder / "results.jsonl")
    if not (folder / "results.jsonl").exists():
        search(storage, folder, asked.trials, asked.examples)  # or the rest of it
    store = open_store(storage, read_only=True)
    study, trials = store.study(STUDY), store.trials(STUDY)
    formats = asked.format or FORMATS
    for pick in asked.trial or PICKS:
        trial = store.trial(STUDY, select_trial(study, trials, pick).number)
        while short := [f for f in formats if len(results.of(pick, f)) < asked.rounds]:
            results.add(side_by_side(study, trial, pick, short, folder))
        for line in (summary(results.of(pick, name)) for name in formats):
            print(json.dumps(line) if asked.json else in_words(line), flush=True)
    store.close()


if __name__ == "__main__":
    main()
