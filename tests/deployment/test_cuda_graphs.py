"""The runtime ``torch-cuda-graphs``: its buffers with a stand-in, and itself where a GPU is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import autotune.deployment.runtimes.torch_cuda_graphs as runtime
from autotune.deployment import DeploymentSettings, build, open_artifact
from autotune.deployment.inputs import Arrays
from autotune.errors import Unsupported
from tests.deployment.tiny_models import expected_logits, random_texts, save_tiny_model

TEXTS = random_texts(6)


class Recorder:
    """Records like CUDA: a replay reads the buffers and overwrites the output."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def record(self, forward: runtime.Forward, tensors: runtime.Tensors) -> Callable[[], Tensor]:
        self.shapes.append(tuple(tensors["input_ids"].shape))
        output = forward(tensors).clone()
        return lambda: output.copy_(forward(tensors))


def total(tensors: runtime.Tensors) -> Tensor:
    mask = tensors.get("attention_mask")
    ids = tensors["input_ids"]
    return (ids if mask is None else ids * mask).sum(dim=1).float()


def batch(first: int, rows: int, length: int, *, padded: bool = False) -> Arrays:
    ids = np.arange(first, first + rows * length, dtype=np.int64).reshape(rows, length)
    mask = np.ones_like(ids)
    if padded:
        mask[:, -1] = 0
    return {"input_ids": ids, "attention_mask": mask}


def test_each_shape_is_recorded_once_and_reads_its_batch() -> None:
    recorder = Recorder()
    session = runtime.graph_session(total, "cpu", recorder.record)
    batches = [batch(3, 2, 4), batch(9, 2, 4), batch(1, 1, 4), batch(5, 2, 4, padded=True)]
    outputs = [session(arrays).copy() for arrays in batches]
    for arrays, output in zip(batches, outputs, strict=True):
        expected = (arrays["input_ids"] * arrays["attention_mask"]).sum(axis=1)
        np.testing.assert_array_equal(output, expected)
    assert recorder.shapes == [(2, 4), (1, 4), (2, 4)]


def test_a_batch_keeps_its_own_arrays() -> None:
    session = runtime.graph_session(total, "cpu", Recorder().record)
    first, second = batch(3, 2, 4), batch(9, 2, 4)
    session(first)
    session(second)
    np.testing.assert_array_equal(first["input_ids"], batch(3, 2, 4)["input_ids"])


def test_beyond_the_largest_number_of_graphs_batches_run_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime, "MAX_GRAPHS", 1)
    recorder = Recorder()
    session = runtime.graph_session(total, "cpu", recorder.record)
    assert [float(session(batch(1, 1, length))[0]) for length in (2, 3, 2, 3)] == [3, 6, 3, 6]
    assert recorder.shapes == [(1, 2)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a host without a GPU")
def test_it_needs_a_gpu(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "model")
    settings = DeploymentSettings("torch-cuda-graphs", "fp16")
    folder = build(tmp_path / "model", settings, tmp_path / "artifact", TEXTS)
    with pytest.raises(Unsupported, match="needs an NVIDIA GPU"), open_artifact(folder, 1):
        pass


@pytest.mark.gpu
@pytest.mark.parametrize("quantization", ["none", "bf16", "fp16"])
def test_the_graphs_predict_what_the_model_predicts(tmp_path: Path, quantization: str) -> None:
    model = save_tiny_model(tmp_path / "model")
    settings = DeploymentSettings("torch-cuda-graphs", quantization, inference_batch_size=4)
    artifact = build(tmp_path / "model", settings, tmp_path / "artifact", TEXTS)
    with open_artifact(artifact, 1) as predictor:
        logits = [np.stack(predictor.predict_all(TEXTS)) for _ in range(2)]
    np.testing.assert_allclose(logits[0], expected_logits(model, TEXTS), atol=0.05)
    np.testing.assert_array_equal(logits[0], logits[1])
