"""What each lever of deployment gives on this machine, alone and together, on SST-2 or TREC.

    python benchmarks/deployment.py --data DIR --examples 4000 --rounds 3
    python benchmarks/deployment.py --data DIR --part sharing

``DIR`` has ``train.jsonl``, ``validation.jsonl`` and ``test.jsonl``. Two models are trained: with
the default of ``Trainer``, and pruned before training. Each row of the table deploys one of them.
The first row is the default in torch eager, in batches of 32 in the order of arrival, padded as
``Trainer`` pads. In each round all rows are measured one after the other, and ratios are those of
the same round, so that a change of the machine's speed matters little. Accuracy is that of the
deployed model on the test split, against the first row, paired by example.

Trained models, artifacts and observations are kept in ``--out``: a benchmark that was interrupted
goes on where it stopped. ``--part sharing`` measures what sharing of trainings saves
(:mod:`deployment_sharing`).
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from deployment_sharing import compare_sharing

from autotune.deployment import DeploymentSettings, Logits, build
from autotune.deployment.artifact import is_artifact
from autotune.deployment.inputs import EncodedText
from autotune.deployment.measurement import serve, serving_figures
from autotune.domain import Host, Job, Limits, Phase, Strategy, Task
from autotune.errors import AutotuneError
from autotune.hardware import inventory
from autotune.levers import defaults, required_resources
from autotune.trial import evaluate
from autotune.trial.data.datasets import load_split, prepare_task
from autotune.trial.data.encoded_texts import calibration_texts, encoded_texts
from autotune.trial.model_files import MODEL

SPEED, LATENCY = "deployed_samples_per_second", "latency_p95_ms"
OBSERVATIONS = "observations.jsonl"
MAX_LENGTH = 64


@dataclass(frozen=True)
class Row:
    """One row of the table: how a model is trained and deployed."""

    label: str
    settings: DeploymentSettings
    is_pruned: bool = False


def table_rows(threads: int) -> tuple[Row, ...]:
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
        Row("pruned before training", settings("torch"), is_pruned=True),
        Row("pruned, buckets, ONNX Runtime, int8 dynamic",
            settings("onnxruntime", "int8-dynamic", "bucketed"), is_pruned=True),
        Row("pruned, buckets, OpenVINO, int8 static",
            settings("openvino", "int8-static", "bucketed"), is_pruned=True),
        Row("pruned, buckets, OpenVINO, bf16",
            settings("openvino", "bf16", "bucketed"), is_pruned=True),
    )  # fmt: skip


@dataclass(frozen=True)
class Observation:
    """One row in one round."""

    speed: float
    latency: float
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
    artifact: Path, texts: Sequence[EncodedText], labels: np.ndarray, threads: int
) -> Observation:
    serving = serve(artifact, texts, threads)
    figures = {name: m.value for name, m in serving_figures(artifact, serving).items()}
    return Observation(
        figures[SPEED], figures[LATENCY], figures["size_mb"],
        figures.get("serving_memory_mb", math.nan),
        (classes(serving.logits) == labels).tolist(),
    )  # fmt: skip


def classes(logits: Sequence[Logits]) -> np.ndarray:
    return np.asarray(np.stack(list(logits)).argmax(axis=-1))


def ratio_text(
    values: Sequence[Observation], references: Sequence[Observation], figure: str
) -> str:
    """The geometric mean of ratios, and how far it is off (one standard error) if it is known."""
    logs = [
        math.log(getattr(v, figure) / getattr(r, figure))
        for v, r in zip(values, references, strict=True)
    ]
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
        last, rounds = values[-1], min(len(values), len(default))
        differences = (np.array(last.hits, dtype=float) - default[-1].hits) * 100
        error = 1.96 * differences.std() / math.sqrt(len(differences))
        print(
            f"| {label} | {ratio_text(values[:rounds], default[:rounds], 'speed')} | "
            f"{ratio_text(values[:rounds], default[:rounds], 'latency')} | "
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
    parser.add_argument("--out", type=Path, default=Path("deployment-benchmark"))
    options = parser.parse_args()
    splits = ("train", "validation", "test")
    files = {split: str((options.data / f"{split}.jsonl").resolve()) for split in splits}
    if options.part == "sharing":
        document = {
            "kind": "text-classification", "model": options.model, "dataset": files,
            "max_length": MAX_LENGTH, "train_samples": options.examples,
        }  # fmt: skip
        compare_sharing(document, options.out)
        return
    host = inventory()
    task = Task(
        model=options.model, dataset=files, max_length=MAX_LENGTH, train_samples=options.examples
    )
    models = train_models(task, host, options.pruning_ratio, options.out)
    measure_rows(task, models, host, options.rounds, options.out)
    print(
        f"{host.cpu}, {len(host.cores)} cores; {options.examples} examples of {options.data.name}"
    )
    print_table(read_observations(options.out / OBSERVATIONS))


def train_models(task: Task, host: Host, ratio: float, out: Path) -> Mapping[bool, Path]:
    """The folders of the default and of the pruned model."""
    default = Strategy(defaults(host)).with_values(device="cpu", learning_rate=2e-4)
    pruned = default.with_values(pruning_ratio=ratio, pruning_score="taylor")
    return {
        is_pruned: train(task, strategy, (out / name).resolve())
        for is_pruned, name, strategy in ((False, "default", default), (True, "pruned", pruned))
    }


def measure_rows(
    task: Task, models: Mapping[bool, Path], host: Host, rounds: int, out: Path
) -> None:
    """Measure all rows that this machine can run once a round, and record each at once."""
    prepared = prepare_task(task)
    test = load_split(prepared, "test")
    texts = encoded_texts(test)
    calibration = calibration_texts(load_split(prepared, "train"), task.seed)
    threads, path = len(host.cores), out / OBSERVATIONS
    artifacts = {}
    for index, row in enumerate(table_rows(threads)):
        folder = out / "artifacts" / str(index)
        try:
            if not is_artifact(folder):
                build(models[row.is_pruned], row.settings, folder, calibration)
            artifacts[row.label] = folder
        except AutotuneError as error:
            print(f"left out: {row.label}: {error.message}")
    finished = {label: len(values) for label, values in read_observations(path).items()}
    for number in range(rounds):
        for label, artifact in artifacts.items():
            if finished.get(label, 0) <= number:
                observation = observe(artifact, texts, test.labels, threads)
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"row": label, **asdict(observation)}) + "\n")


def read_observations(path: Path) -> dict[str, list[Observation]]:
    """By row, in the order of the rounds. A line that was cut off is left out."""
    observations: dict[str, list[Observation]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        observations.setdefault(record.pop("row"), []).append(Observation(**record))
    return observations


if __name__ == "__main__":
    main()
