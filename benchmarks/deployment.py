"""What each lever of deployment gives on this machine, alone and together, on SST-2 or TREC.

    python benchmarks/deployment.py --data DIR --examples 4000 --rounds 3
    python benchmarks/deployment.py --data DIR --part sharing

``DIR`` has ``train.jsonl``, ``test.jsonl`` and perhaps ``validation.jsonl``. Models are trained
with ``--examples`` of the training examples. The search validates and confirms on the others and
``validation.jsonl``; the test split is for the table alone.

Three models are trained, for one epoch at a learning rate of 2e-4: with the other defaults of
``Trainer``, pruned before training, and pruned and distilled from the first. Each row of the table
deploys one of them. The first row is the default in torch eager, in batches of 32 in the order of
arrival, padded as ``Trainer`` pads. In each round all rows are measured one after the other, the
first row again before every third one. Ratios are those to its latest measurement, so that a change
of the machine's speed matters little. Accuracy is that of the deployed model on the test split,
against the first row, paired by example; the interval is that of the examples, of one training.

The last row is the knee of a search of ``--minutes`` (:mod:`deployment_search`), which runs first.
Trained models, artifacts and observations are kept in ``--out``, by options: a benchmark that was
interrupted goes on where it stopped. ``--part sharing`` measures what sharing of trainings saves
(:mod:`deployment_sharing`). ``--smoke`` is a short run, whose figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from statistics import fmean, stdev

import numpy as np
from deployment_search import BASELINE, KNEE, search_knee
from deployment_sharing import compare_sharing

from autotune.deployment import DeploymentSettings, Logits, build
from autotune.deployment.artifact import is_artifact
from autotune.deployment.inputs import EncodedText
from autotune.deployment.measurement import serve, serving_figures
from autotune.domain import Host, Job, Limits, Phase, Strategy, Task, digest
from autotune.errors import AutotuneError
from autotune.hardware import inventory
from autotune.levers import defaults, required_resources
from autotune.trial import evaluate
from autotune.trial.data.datasets import load_split, prepare_task
from autotune.trial.data.encoded_texts import calibration_texts, encoded_texts
from autotune.trial.model_files import MODEL, describe_model
from autotune.trial.post_pruning import pruned_model

SPEED, LATENCY = "deployed_samples_per_second", "latency_p95_ms"
OBSERVATIONS = "observations.jsonl"
MAX_LENGTH = 64
ROWS_PER_DEFAULT = 3
"""Rows that are compared with one measurement of the first row."""

SMOKE_EXAMPLES = 64
"""Training and test examples of ``--smoke``."""

HELD_OUT = 1000
"""The most training examples that validate the search, and the most that confirm it."""

DEFAULT, PRUNED, DISTILLED = "default", "pruned", "distilled"
"""The models that are trained, and the names of their folders."""


@dataclass(frozen=True)
class Row:
    """One row of the table: which of the models is deployed, and how. ``post_pruning_ratio`` is
    pruned from it after training."""

    label: str
    settings: DeploymentSettings
    model: str = DEFAULT
    post_pruning_ratio: float = 0.0


def table_rows(threads: int, ratio: float) -> tuple[Row, ...]:
    def settings(
        runtime: str, quantization: str = "none", padding: str = "dynamic"
    ) -> DeploymentSettings:
        return DeploymentSettings(runtime, quantization, 32, threads, padding)

    return (
        Row("torch, as Trainer", settings("torch")),
        Row("length buckets", settings("torch", padding="bucketed")),
        Row("bf16 in torch", settings("torch", "bf16")),
        Row("torch, compiled", settings("torch-compile")),
        Row("ONNX Runtime", settings("onnxruntime")),
        Row("ONNX Runtime, int8 dynamic", settings("onnxruntime", "int8-dynamic")),
        Row("ONNX Runtime, int8 static", settings("onnxruntime", "int8-static")),
        Row("OpenVINO", settings("openvino")),
        Row("OpenVINO, bf16", settings("openvino", "bf16")),
        Row("OpenVINO, fp16", settings("openvino", "fp16")),
        Row("OpenVINO, int8 static", settings("openvino", "int8-static")),
        Row("pruned before training", settings("torch"), PRUNED),
        Row("pruned before training and distilled", settings("torch"), DISTILLED),
        Row("pruned after training", settings("torch"), post_pruning_ratio=ratio),
        Row("pruned, buckets, ONNX Runtime, int8 dynamic",
            settings("onnxruntime", "int8-dynamic", "bucketed"), PRUNED),
        Row("pruned, buckets, OpenVINO, int8 static",
            settings("openvino", "int8-static", "bucketed"), PRUNED),
        Row("pruned, buckets, OpenVINO, bf16",
            settings("openvino", "bf16", "bucketed"), PRUNED),
        Row("pruned and distilled, buckets, OpenVINO, int8 static",
            settings("openvino", "int8-static", "bucketed"), DISTILLED),
        Row("pruned after training, buckets, OpenVINO, int8 static",
            settings("openvino", "int8-static", "bucketed"), post_pruning_ratio=ratio),
    )  # fmt: skip


@dataclass(frozen=True)
class Observation:
    """One row in one round. ``relative_speed`` and ``relative_latency`` are those to the latest
    measurement of the first row, and ``artifact`` is the name of what was measured."""

    artifact: str
    speed: float
    latency: float
    relative_speed: float
    relative_latency: float
    size_mb: float
    memory_mb: float
    hits: list[bool]


def train(task: Task, strategy: Strategy, folder: Path) -> Path:
    """The folder of the trained model; trained on first use."""
    model = folder / MODEL
    if not model.is_dir():
        job = Job(
            "deployment", 0, strategy, task, task.seed, required_resources(strategy), Limits(),
            str(folder), phases=(Phase.TRAIN,), keeps_model=True,
        )  # fmt: skip
        outcome = evaluate(job, lambda point: None)
        if not model.is_dir():
            raise SystemExit(f"training failed: {outcome}; see {folder}")
    return model


def observe(
    artifact: Path,
    texts: Sequence[EncodedText],
    labels: np.ndarray,
    threads: int,
    default: Observation | None,
) -> Observation:
    """``default`` is the latest measurement of the first row; ``None`` for that row itself."""
    serving = serve(artifact, texts, threads)
    figures = {name: m.value for name, m in serving_figures(artifact, serving).items()}
    speed, latency = figures[SPEED], figures[LATENCY]
    return Observation(
        artifact.name, speed, latency,
        1.0 if default is None else speed / default.speed,
        1.0 if default is None else latency / default.latency,
        figures["size_mb"], figures.get("serving_memory_mb", math.nan),
        (classes(serving.logits) == labels).tolist(),
    )  # fmt: skip


def classes(logits: Sequence[Logits]) -> np.ndarray:
    return np.asarray(np.stack(list(logits)).argmax(axis=-1))


def ratio_text(ratios: Sequence[float]) -> str:
    """The geometric mean, and how far it is off (one standard error) if it is known."""
    logs = [math.log(ratio) for ratio in ratios]
    text = f"{math.exp(fmean(logs)):.2f}"
    return (
        f"{text} ± {math.exp(fmean(logs)) * stdev(logs) / math.sqrt(len(logs)):.2f}"
        if len(logs) > 1
        else text
    )


def print_table(observations: Mapping[str, Sequence[Observation]]) -> None:
    print("| | throughput | p95 latency | size, MB | memory, MB | accuracy | difference, points |")
    print("|---|---|---|---|---|---|---|")
    default, *_ = observations.values()
    for label, values in observations.items():
        last = values[-1]
        differences = (np.array(last.hits, dtype=float) - default[-1].hits) * 100
        error = 1.96 * differences.std() / math.sqrt(len(differences))
        print(
            f"| {label} | {ratio_text([v.relative_speed for v in values])} | "
            f"{ratio_text([v.relative_latency for v in values])} | "
            f"{last.size_mb:.0f} | {last.memory_mb:.0f} | {np.mean(last.hits):.1%} | "
            f"{differences.mean():+.2f} ± {error:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", choices=("table", "sharing"), default="table")
    parser.add_argument("--model", default="builtin:minilm")
    parser.add_argument("--examples", type=int, default=4000)
    parser.add_argument("--pruning-ratio", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=60, help="of the search; 0 for none")
    parser.add_argument("--smoke", action="store_true", help="tiny model, few examples, one round")
    parser.add_argument("--out", type=Path, default=Path("deployment-benchmark"))
    options = parser.parse_args()
    if options.smoke:
        options.model, options.examples = "builtin:bert-tiny", SMOKE_EXAMPLES
        options.rounds, options.minutes = 1, min(options.minutes, 2)
        options.out /= "smoke"  # models and observations of another size
    name = f"{options.data.name}-{Path(options.model).name.replace(':', '-')}"
    options.out /= f"{name}-{options.examples}-examples-{options.pruning_ratio:g}-pruned"
    os.environ["AUTOTUNE_RUNS"] = str((options.out / "runs").resolve())  # of the searches
    files = write_splits(options.data, options.examples, options.out.resolve() / "data")
    document = {
        "kind": "text-classification", "model": options.model, "dataset": files,
        "max_length": MAX_LENGTH,
    }  # fmt: skip
    if options.part == "sharing":
        compare_sharing(document, options.out)
        return
    host = inventory()
    rows = [*table_rows(len(host.cores), options.pruning_ratio)]
    test = str((options.data / "test.jsonl").resolve())
    task = Task(**{**document, "dataset": {**files, "test": test}})
    models = dict(train_models(task, host, options.pruning_ratio, options.out))
    if options.minutes:
        strategy, models[KNEE] = search_knee(document, options.minutes, options.out)
        rows.append(searched_row(strategy))
    artifacts = build_artifacts(task, models, rows, options.out)
    measure_rows(task, artifacts, host, rows[0], options)
    print(
        f"{host.cpu}, {len(host.cores)} cores; {options.examples} examples of {options.data.name}"
    )
    names = {folder.name for folder in artifacts.values()}
    print_table(read_observations(options.out / OBSERVATIONS, names))


def write_splits(data: Path, examples: int, folder: Path) -> dict[str, str]:
    """The files of the search. Up to :data:`HELD_OUT` of the training examples that are left are
    for validation, with ``validation.jsonl``, and as many are its test split. It never reads
    ``test.jsonl``."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (data / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    Random(0).shuffle(lines)
    train, rest = lines[:examples], lines[examples : examples + 2 * HELD_OUT]
    own = data / "validation.jsonl"
    validation = own.read_text(encoding="utf-8").splitlines(keepends=True) if own.exists() else []
    splits = {
        "train": train,
        "validation": [*validation, *rest[: len(rest) // 2]],
        "test": rest[len(rest) // 2 :],
    }
    for split, rows in splits.items():
        (folder / f"{split}.jsonl").write_text("".join(rows), encoding="utf-8")
    return {split: str(folder / f"{split}.jsonl") for split in splits}


def train_models(task: Task, host: Host, ratio: float, out: Path) -> Mapping[str, Path]:
    """The folders of the trained models."""
    default = Strategy(defaults(host)).with_values(device="cpu", **BASELINE)
    pruned = default.with_values(pruning_ratio=ratio, pruning_score="taylor")
    models = {
        name: train(task, strategy, (out / name).resolve())
        for name, strategy in ((DEFAULT, default), (PRUNED, pruned))
    }
    student = pruned.with_values(distillation=0.5)
    taught = replace(task, teacher=str(models[DEFAULT]))
    return {**models, DISTILLED: train(taught, student, (out / DISTILLED).resolve())}


def searched_row(strategy: Strategy) -> Row:
    """The deployment of a search, as it was measured there."""
    ratio = float(strategy["post_pruning_ratio"])
    return Row(KNEE, DeploymentSettings.from_strategy(strategy), KNEE, ratio)


def measure_rows(
    task: Task,
    artifacts: Mapping[Row, Path],
    host: Host,
    default_row: Row,
    options: argparse.Namespace,
) -> None:
    """Measure all rows that this machine can run once a round, and record each at once."""
    test, path = load_split(prepare_task(task), "test"), options.out / OBSERVATIONS
    count = SMOKE_EXAMPLES if options.smoke else len(test)
    texts, labels = encoded_texts(test)[:count], test.labels[:count]
    names = {folder.name for folder in artifacts.values()}
    finished = {label: len(values) for label, values in read_observations(path, names).items()}
    for number in range(options.rounds):
        default: Observation | None = None
        missing = [row for row in artifacts if finished.get(row.label, 0) <= number]
        for index, row in enumerate(missing):
            if default is None or index % ROWS_PER_DEFAULT == 0:
                default = observe(
                    artifacts[default_row], texts, labels, len(host.cores), default=None
                )
            observation = default
            if row is not default_row:
                threads = row.settings.inference_threads or len(host.cores)
                observation = observe(artifacts[row], texts, labels, threads, default)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"row": row.label, **asdict(observation)}) + "\n")


def build_artifacts(
    task: Task, models: Mapping[str, Path], rows: Sequence[Row], out: Path
) -> Mapping[Row, Path]:
    """The artifact of each row that can be built here; built on first use."""
    prepared = prepare_task(task)
    train_split = load_split(prepared, "train")
    calibration = calibration_texts(train_split, task.seed)
    artifacts = {}
    for row in rows:
        folder = out / "artifacts" / artifact_name(row, models[row.model])
        levers = Strategy({"post_pruning_ratio": row.post_pruning_ratio})
        try:
            if not is_artifact(folder):
                model = pruned_model(models[row.model], levers, prepared, train_split, task.seed)
                build(model, row.settings, folder, calibration)
            artifacts[row] = folder
        except AutotuneError as error:
            print(f"left out: {row.label}: {error.message}")
    return artifacts


def artifact_name(row: Row, model: Path) -> str:
    """The name of the folder of the artifact; another one for other settings or another model."""
    name = row.label.replace(" ", "-").replace(",", "")
    settings = [asdict(row.settings), row.post_pruning_ratio, describe_model(model).digest]
    return f"{name}-{digest(settings)[:8]}"


def read_observations(path: Path, artifacts: Collection[str]) -> dict[str, list[Observation]]:
    """By row, in the order of the rounds. A line that was cut off is left out, and so is one of an
    artifact whose name is not among ``artifacts``."""
    observations: dict[str, list[Observation]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record["artifact"] in artifacts:
            observations.setdefault(record.pop("row"), []).append(Observation(**record))
    return observations


if __name__ == "__main__":
    main()
