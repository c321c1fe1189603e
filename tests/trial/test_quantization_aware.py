"""Lever ``quantization_aware``: layers round in training, and are ordinary layers otherwise."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_encoders import batches, logits, tiny_model
from torch import Tensor
from torch.nn import functional
from trial_cases import make_job

from autotune.deployment.trained_model import WEIGHTS
from autotune.domain import Completed, Job, Phase, TrialResult
from autotune.hardware import int8_saturates
from autotune.trial import run
from autotune.trial.effects import quantization_aware
from autotune.trial.effects.quantization_aware import add_rounding, round_inputs, round_weight
from autotune.trial.encoder import encoder_of

OPSET = 20


@pytest.mark.parametrize("limit", [64, 127])
def test_weights_have_a_scale_for_each_output(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization_aware, "WEIGHT_LIMIT", limit)
    weight = torch.randn(6, 300, generator=torch.Generator().manual_seed(0))
    weight *= torch.tensor([1e-3, 1e-2, 0.1, 1.0, 10.0, 0.0])[:, None]
    weight[:, 0] = 0.0
    rounded = round_weight(weight.requires_grad_())
    steps = weight.detach().abs().amax(dim=1, keepdim=True) / limit
    assert ((rounded - weight).abs() <= 0.501 * steps).all()
    assert all(len(row.unique()) <= 2 * limit + 1 for row in rounded)
    assert not rounded[:, 0].any() and not rounded[-1].any()
    rounded.sum().backward()
    assert weight.grad is not None and (weight.grad == 1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inputs_have_a_range_for_each_row(dtype: torch.dtype) -> None:
    row = torch.linspace(-1.0, 3.0, 1001).to(dtype)
    inputs = torch.stack([row, 100 * row, row.clamp(min=0.0), torch.zeros_like(row)])
    rounded = round_inputs(inputs.unflatten(1, (7, 143)).requires_grad_()).flatten(1)
    assert rounded.dtype == dtype
    assert all(len(values.unique()) <= 256 for values in rounded)
    precision = torch.finfo(dtype).eps * 3
    for values, expected, step in zip(rounded, inputs, (4 / 255, 400 / 255, 3 / 255), strict=False):
        assert (values - expected).abs().max() <= step + 100 * precision
    assert not rounded[-1].any()
    assert rounded[0].equal(round_inputs(inputs[:1])[0])  # whatever the other rows are


def test_layers_round_as_onnx_runtime_does(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    generator = torch.Generator().manual_seed(0)
    weight, inputs = (torch.randn(*size, generator=generator) for size in ((5, 64), (7, 64)))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "weight"], ["y"])],
        "linear",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (7, 64))],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (7, 5))],
        [onnx.numpy_helper.from_array(weight.t().contiguous().numpy(), "weight")],
    )
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    path = tmp_path / "int8.onnx"
    quantize_dynamic(
        model, path, per_channel=True, weight_type=QuantType.QInt8, reduce_range=int8_saturates()
    )
    (deployed,) = runtime.InferenceSession(path).run(None, {"x": inputs.numpy()})
    rounded = functional.linear(round_inputs(inputs[None]), round_weight(weight))[0]
    torch.testing.assert_close(rounded, torch.from_numpy(deployed), atol=1e-4, rtol=1e-5)
    exact = functional.linear(inputs, weight)
    assert (rounded - exact).abs().max() > 1e-3


def training_logits(model: torch.nn.Module) -> Tensor:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.train()
    outputs: Tensor = model(**batches(1)[0]).logits
    return outputs


def test_layers_round_in_training_only() -> None:
    model = tiny_model()
    before, names = logits(model), list(model.state_dict())
    add_rounding(model)
    assert logits(model).equal(before)
    assert list(model.state_dict()) == names
    assert len(encoder_of(model).layers) == 2  # a view of plain layers
    rounded = training_logits(model)
    assert not torch.equal(rounded, before)
    torch.testing.assert_close(rounded, before, atol=0.2, rtol=0.1)
    rounded.square().sum().backward()
    assert all(linear.weight.grad is not None for linear in encoder_of(model).linears)


def test_a_copy_rounds_its_own_weights() -> None:
    model = tiny_model()
    add_rounding(model)
    model_copy = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert training_logits(model_copy).any()
    assert not training_logits(model).any()


def train(job: Job) -> TrialResult:
    outcome = run.run_trial(replace(job, phases=(Phase.TRAIN,)), lambda point: None)
    assert isinstance(outcome, Completed), outcome
    return outcome.result


def test_a_trial_trains_with_rounding_and_leaves_an_ordinary_model(tmp_path: Path) -> None:
    job = make_job(tmp_path, settings={"steps": 4}, dropout=0.0)
    plain, rounding = (
        replace(
            job,
            directory=str(tmp_path / name),
            keeps_model=True,
            strategy=job.strategy.with_values(quantization_aware=value),
        )
        for name, value in (("plain", False), ("rounding", True))
    )
    losses = [train(each).curve[-1].loss for each in (plain, rounding)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)
    first, second = (load_file(Path(j.directory) / "model" / WEIGHTS) for j in (plain, rounding))
    assert {n: t.shape for n, t in first.items()} == {n: t.shape for n, t in second.items()}
    linear = next(tensor for name, tensor in second.items() if name.endswith("query.weight"))
    assert not round_weight(linear).equal(linear)  # stored as it is


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_so(value: float) -> None:
    """A training that diverges ends by its loss, not by an error of rounding."""
    values = torch.ones(2, 3)
    values[0, 1] = value
    for rounded in (round_inputs(values), round_weight(values)):
        assert not rounded[0].isfinite().all()
        assert rounded[1].isfinite().all()


def test_rounding_compiles_to_one_graph() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    add_rounding(model)
    explanation = torch._dynamo.explain(model)(torch.ones(2, 4))
    assert explanation.graph_break_count == 0
