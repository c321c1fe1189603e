"""The search under a constraint against strategies written by hand, on real data.

    python benchmarks/constrained_search.py --data DIR --minutes 15 --seeds 3 [--device cuda:0]

``DIR`` has ``train.jsonl``, ``validation.jsonl`` and ``test.jsonl`` as SST-2. For each seed a
search of so many minutes looks for the fastest training whose accuracy is within one point of the
default of ``Trainer``. Seven strategies that a practitioner would write down run on the same task,
and the fastest of those that keep the bound on the validation split represents them. Then the
default, the strategy by hand and the recommended ones train with the same seeds, one after the
other, and are evaluated on the test split. Differences of accuracy are paired by example and by
seed, with seeds as a random effect; ratios of speed are paired by seed
(``autotune/analysis/paired.py``).

Finished parts are kept in ``--out``, so that the same command continues an interrupted run. What
each search believes of its recommendation is printed and kept there when it ends. ``--smoke`` takes
a minute on made-up texts, and shows only that everything runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from statistics import fmean
from typing import Any

from autotune import spec
from autotune.analysis.front import feasible_trials
from autotune.analysis.paired import PairedRuns
from autotune.analysis.recommendation import Recommendation, Recommender
from autotune.domain import Job, Limits, Outcome, State, Strategy, Study, Trial, TrialOrigin, Value
from autotune.execution.local import LocalExecutor
from autotune.hardware import inventory
from autotune.levers import required_resources
from autotune.store import SqlStore, open_store
from autotune.trial import evaluate

SPEED = "train_samples_per_second"

STUDY = """\
study: {name}
task:
  kind: text-classification
  model: {model}
  dataset:
    train: {data}/train.jsonl
    validation: {data}/validation.jsonl
    test: {data}/test.jsonl
  max_length: 64
  train_samples: {examples}
  validation_samples: 1000
objectives: [train_samples_per_second, accuracy, inference_samples_per_second]
constraints: [accuracy >= baseline - 0.01]
space:
  device: {device}
  threads: auto
  allocator: auto
  batch_size: [8, 16, 32, 64]
  padding: [dynamic, bucketed]
  precision: {precision}
  pruning_ratio: {{low: 0.0, high: 0.75, step: 0.25}}
  pruning_method: [structured, layers]
  freeze_layers: [0, 1, 2]
  learning_rate: {{low: 2e-5, high: 2e-3, log: true}}
"""

SEARCH = """\
budget: {{minutes: {minutes}}}
sampler: {{kind: factored, seed: {seed}}}
confirm: {{top: 3, seeds: 1}}
"""

HAND = """\
budget: {{trials: {trials}}}
sampler: random
sharing: false
early_stopping: none
start_with: {strategies}
"""

TUNED: Mapping[str, Value] = {
    "allocator": "tuned", "padding": "bucketed", "precision": "bf16", "batch_size": 16,
    "learning_rate": 2e-4,
}  # fmt: skip

BY_HAND: Sequence[Mapping[str, Value]] = (
    {**TUNED, "allocator": "system"},
    TUNED,
    {**TUNED, "precision": "bf16-pure"},
    {**TUNED, "freeze_layers": 1},
    {**TUNED, "batch_size": 8, "freeze_layers": 2},
    {**TUNED, "freeze_layers": 1, "pruning_ratio": 0.25, "pruning_method": "layers"},
    {**TUNED, "batch_size": 32, "learning_rate": 4e-4, "freeze_layers": 1},
)
"""What a practitioner tries: bf16, batches of similar length, a larger learning rate; then the
allocator, pure bf16, frozen layers, a quarter of the layers removed, larger batches."""

DEFAULT, HAND_LABEL = "default", "by hand"
FINAL_SEEDS = (1, 2, 3)
"""Seeds of the final training runs. The searches train with seed 0."""


@dataclass(frozen=True)
class Setting:
    """The task, and where results go."""

    model: str
    data: Path
    device: str
    minutes: float
    seeds: int
    examples: int
    out: Path
    by_hand: Sequence[Mapping[str, Value]]

    @property
    def storage(self) -> str:
        return f"sqlite:///{self.out / 'results.db'}"

    def study_file(self, name: str, *, precision: str = "auto", end: str = "") -> Path:
        """Write the study file of one part."""
        text = STUDY.format(name=name, model=self.model, data=self.data, device=self.device,
                            examples=self.examples, precision=precision)  # fmt: skip
        path = self.out / f"{name}.yaml"
        path.write_text(text + end, encoding="utf-8")
        return path


def main() -> None:
    options = parse_options()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.smoke:
        write_made_up_texts(options.data)
    setting = Setting(
        options.model, options.data.resolve(), options.device, options.minutes, options.seeds,
        options.examples, options.out.resolve(), BY_HAND[:1] if options.smoke else BY_HAND,
    )  # fmt: skip
    default, by_hand = search_by_hand(setting)
    strategies = {DEFAULT: default, HAND_LABEL: by_hand}
    strategies |= {f"search {seed}": search(setting, seed) for seed in range(setting.seeds)}
    seeds = FINAL_SEEDS[:1] if options.smoke else FINAL_SEEDS
    trials = train_finally(setting, strategies, seeds)
    result = summarize(setting, strategies, trials)
    (setting.out / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(json.dumps(result, indent=1) if options.json else "\n".join(table(result)))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with the three splits")
    parser.add_argument("--model", default="builtin:minilm")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0")
    parser.add_argument("--minutes", type=float, default=15, help="of each search")
    parser.add_argument("--seeds", type=int, default=3, help="searches")
    parser.add_argument("--examples", type=int, default=3000, help="of training")
    parser.add_argument("--out", type=Path, default=Path("runs/constrained_search"))
    parser.add_argument("--smoke", action="store_true", help="tiny texts, one short search")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.smoke:
        options.data, options.model = options.out / "texts", "builtin:bert-tiny"
        options.minutes, options.seeds, options.examples = 0.2, 1, 96
    elif options.data is None:
        parser.error("give the folder of the data with --data")
    return options


def write_made_up_texts(folder: Path) -> None:
    """Sentences whose label depends on one word."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", 96), ("validation", 48), ("test", 48)):
        rows = ({"text": f"it is {'not ' * (i % 2)}good {'very ' * (i % 5)}{i}", "label": i % 2}
                for i in range(count))  # fmt: skip
        lines = (json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


# ------------------------------------------------------------------------------------ the searches


def search(setting: Setting, seed: int) -> Strategy:
    """The fastest strategy that a search recommends."""
    name = f"search-{seed}-{setting.minutes:g}-minutes".replace(".", "-")
    end = SEARCH.format(minutes=setting.minutes, seed=seed)
    study, trials = run_study(setting, setting.study_file(name, end=end), name)
    recommender = Recommender(study, trials)
    recommendation = recommender.recommend("fastest")
    report_search(setting, name, recommender, recommendation)
    return recommendation.trial.strategy


def report_search(
    setting: Setting, name: str, recommender: Recommender, recommendation: Recommendation
) -> None:
    """Print and keep what a search believes of its recommendation, before it is trained again."""
    trial, posterior = recommendation.trial, recommender.posterior
    speed, score = (posterior.compare(trial, metric) for metric in (SPEED, "accuracy"))
    origins = Counter(t.origin for t in recommender.trials)
    record = {
        "study": name,
        "trial": trial.number,
        "levers": describe_levers(trial.strategy, recommender.study.baseline),
        "speed_ratio": None if speed is None else speed.value,
        "accuracy_difference": None if score is None else score.value,
        "probability": recommendation.probability,
        "trials": dict(sorted(origins.items())),
    }
    text = json.dumps(record)
    print(text, file=sys.stderr, flush=True)
    (setting.out / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def search_by_hand(setting: Setting) -> tuple[Strategy, Strategy]:
    """The default, and the fastest strategy by hand that keeps the bound."""
    name = "by-hand"
    strategies = json.dumps(setting.by_hand)
    end = HAND.format(trials=len(setting.by_hand) + 1, strategies=strategies)
    path = setting.study_file(name, precision="[fp32, bf16, bf16-pure]", end=end)
    study, trials = run_study(setting, path, name)
    feasible = [trial for trial in feasible_trials(study, trials) if trial.metric(SPEED)]
    best = max(feasible, key=lambda trial: trial.metric(SPEED) or 0.0, default=trials[0])
    return study.baseline, best.strategy


def run_study(setting: Setting, path: Path, name: str) -> tuple[Study, Sequence[Trial]]:
    """Run what is left of a study; it and its trials."""
    command = [sys.executable, "-m", "autotune", "search", str(path), "--storage", setting.storage]
    subprocess.run(command, check=True, stdout=sys.stderr, cwd=setting.out)
    store = open_store(setting.storage, read_only=True)
    study, trials = store.study(name), store.trials(name)
    store.close()
    return study, trials


# ------------------------------------------------------------------------------ the final training


def train_finally(
    setting: Setting, strategies: Mapping[str, Strategy], seeds: Sequence[int]
) -> Sequence[Trial]:
    """Train each strategy with each seed and evaluate it on the test split, unless that is stored.
    Strategies alternate, so that a change of the machine's speed affects all alike."""
    path = setting.study_file("final", precision="[fp32, bf16, bf16-pure]",
                              end="budget: {trials: 1}\n")  # fmt: skip
    study = spec.load(path, host=inventory()).study
    store = open_store(setting.storage)
    if study.name not in store.studies():
        store.create_study(study, {})
    store.interrupt_running(study.name)
    pending = iter(list(pending_runs(store, study, strategies, seeds)))
    executor = LocalExecutor()

    def ask() -> Job | None:
        run = next(pending, None)
        return None if run is None else start_run(store, study, *run, setting.out)

    def tell(job: Job, outcome: Outcome) -> None:
        store.finish(study.name, job.trial, outcome)

    try:
        executor.run(ask, evaluate, tell, lambda job, point: None)
    finally:
        executor.close()
    trials = store.trials(study.name)
    store.close()
    return trials


def pending_runs(
    store: SqlStore, study: Study, strategies: Mapping[str, Strategy], seeds: Sequence[int]
) -> Iterator[tuple[Strategy, int]]:
    """The runs that are not stored; the first strategy changes from seed to seed."""
    finished = {(t.strategy, t.seed) for t in store.trials(study.name) if t.state is State.COMPLETE}
    distinct = list(dict.fromkeys(strategies.values()))
    for shift, seed in enumerate(seeds):
        start = shift % len(distinct)
        for strategy in distinct[start:] + distinct[:start]:
            if (strategy, seed) not in finished:
                yield strategy, seed


def start_run(store: SqlStore, study: Study, strategy: Strategy, seed: int, out: Path) -> Job:
    """Record that a run starts; its job."""
    trial = store.start(study.name, strategy, origin=TrialOrigin.CONFIRMATION, seed=seed)
    return Job(
        study.name, trial.number, strategy, study.task, seed, required_resources(strategy),
        Limits(), str(out / "final" / f"{trial.number:04d}"), on_test_split=True,
    )  # fmt: skip


# ------------------------------------------------------------------------------------- the figures


def summarize(
    setting: Setting, strategies: Mapping[str, Strategy], trials: Sequence[Trial]
) -> dict[str, Any]:
    """Each strategy against the default: ratio of training speed, difference of accuracy."""
    pairs = PairedRuns(trials)
    complete = {t.strategy: t for t in trials if t.state is State.COMPLETE}
    default = complete.get(strategies[DEFAULT])
    if default is None:
        raise SystemExit(f"the default did not complete; see {setting.out / 'final'}")
    entries = {
        label: describe(pairs, complete.get(strategy), default, strategy)
        for label, strategy in strategies.items()
        if label != DEFAULT
    }
    ratios = [e["speed_ratio"] for label, e in entries.items()
              if label != HAND_LABEL and e["speed_ratio"] is not None]  # fmt: skip
    return {
        "model": setting.model,
        "device": setting.device,
        "minutes": setting.minutes,
        "examples": setting.examples,
        "strategies": entries,
        "mean_speed_ratio_of_searches": exp(fmean(map(log, ratios))) if ratios else None,
    }


def describe(
    pairs: PairedRuns, trial: Trial | None, default: Trial, strategy: Strategy
) -> dict[str, Any]:
    """A strategy's levers that differ from the default's, and its comparison with the default."""
    levers = describe_levers(strategy, default.strategy)
    entry: dict[str, Any] = {"levers": levers, "speed_ratio": None, "accuracy_difference": None}
    if strategy == default.strategy:
        return entry | {"speed_ratio": 1.0, "accuracy_difference": 0.0}
    ratio = pairs.ratio(trial, default, SPEED) if trial is not None else None
    difference = pairs.score_difference(trial, default) if trial is not None else None
    if ratio is not None:
        entry |= {"speed_ratio": ratio.value, "speed_ratio_ci95": ratio.ci95}
    if difference is not None:
        entry |= {"accuracy_difference": difference.value, "accuracy_ci95": difference.ci95,
                  "test_examples": difference.examples, "seeds": difference.seeds}  # fmt: skip
    return entry


def describe_levers(strategy: Strategy, default: Strategy) -> dict[str, Value]:
    """The settings that differ from the default's."""
    return {n: value for n, value in strategy.values.items() if value != default.values[n]}


def table(result: Mapping[str, Any]) -> Iterator[str]:
    yield f"{'':12}{'training speed':>26}{'accuracy, points':>26}   levers"
    for label, entry in result["strategies"].items():
        speed = _with_interval(entry["speed_ratio"], entry.get("speed_ratio_ci95"), "{:.2f}x", 1)
        score = _with_interval(entry["accuracy_difference"], entry.get("accuracy_ci95"),
                               "{:+.1f}", 100)  # fmt: skip
        levers = " ".join(f"{name}={value}" for name, value in entry["levers"].items())
        yield f"{label:12}{speed:>26}{score:>26}   {levers}"
    yield "95% intervals; test split; relative to Trainer's default with the same seeds"


def _with_interval(
    value: float | None, ci95: Sequence[float] | None, form: str, scale: float
) -> str:
    if value is None:
        return "did not complete"
    text = form.format(scale * value)
    if ci95 is None:
        return text
    low, high = (form.format(scale * end) for end in ci95)
    return f"{text} ({low} to {high})"


if __name__ == "__main__":
    main()
