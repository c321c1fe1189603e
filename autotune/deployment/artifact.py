"""An artifact: a folder with everything that serves a model.

It has the graph or the weights, ``tokenizer.json``, and ``deployment.json``, which describes them.
This module needs only the standard library, because exported folders contain a copy of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autotune.errors import ModelError

DESCRIPTION = "deployment.json"
TOKENIZER = "tokenizer.json"
QUESTION_ANSWERING = "question-answering"

GRAPH_CACHE_SUFFIX = ".graph.onnx"
"""The ONNX graph of a trained model is next to its folder, under this name: all deployments of the
model share it."""

PRUNED = "pruned"
"""The folder of a pruned model in its own shapes, in an export in the format of transformers."""

VERSION = 1


@dataclass(frozen=True)
class Artifact:
    """The content of ``deployment.json``.

    ``inputs`` are the names of the arrays that the model takes. ``labels`` are in the order of its
    outputs. ``task`` is the kind of task, ``max_length`` is in tokens, and ``is_paired`` tells
    whether a row is a pair of texts. Long texts are cut, or divided if the artifact ``has_windows``
    or answers questions: two windows share ``stride`` tokens. An answer ``may_be_empty``.
    ``threshold`` is the probability above which one of several labels applies (0.5 unless given),
    or by how much the sum of the logits of no answer has to be larger than that of an answer (0
    unless given). Texts that are too long lose tokens at their ``truncation_side``. The others are
    the settings of the deployment (:class:`~autotune.deployment.settings.DeploymentSettings`).
    """

    task: str
    labels: tuple[str, ...]
    inputs: tuple[str, ...]
    pad_token_id: int
    max_length: int
    runtime: str
    quantization: str
    batch_size: int
    threads: int | None
    padding: str
    is_paired: bool = False
    has_windows: bool = False
    stride: int = 0
    may_be_empty: bool = False
    threshold: float | None = None
    truncation_side: str = "right"

    @property
    def divides_texts(self) -> bool:
        """Whether long texts are divided into windows."""
        return self.has_windows or self.task == QUESTION_ANSWERING


def is_artifact(folder: Path) -> bool:
    """Whether ``folder`` has the description of an artifact."""
    return (folder / DESCRIPTION).is_file()


def write_artifact(folder: Path, artifact: Artifact) -> None:
    document = {"version": VERSION, **asdict(artifact)}
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")


def read_artifact(folder: Path) -> Artifact:
    """Raises :class:`ModelError` for a folder that is no artifact of this version."""
    path = folder / DESCRIPTION
    try:
        document: Mapping[str, Any] = json.loads(path.read_bytes())
        if document["version"] == VERSION:
            names = Artifact.__dataclass_fields__.keys() & document.keys()
            fields = {name: document[name] for name in names}
            return Artifact(
                **{**fields, "labels": tuple(fields["labels"]), "inputs": tuple(fields["inputs"])}
            )
        problem = f"is of version {document['version']}, not {VERSION}"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except (ValueError, TypeError, LookupError, RecursionError):
        problem = "does not describe a deployment"
    raise ModelError(
        f"{path} {problem}", hint="autotune export STUDY --to onnx --output DIR writes an artifact"
    )
