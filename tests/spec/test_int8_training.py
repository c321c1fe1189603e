"""The lever ``quantization_aware`` is searched where models are deployed in int8."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.domain import Strategy, Value
from autotune.domain.runtimes import RUNTIMES
from autotune.domain.search_space import complete, levers
from autotune.errors import SpecError
from autotune.levers import training_key
from autotune.spec import load
from tests.spec.hosts import CPU

WITH_ONNX = replace(CPU, tools=(*CPU.tools, *RUNTIMES["onnxruntime"].packages))
STUDY = """
study: s
objectives: [deployed_accuracy]
space:
  runtime: [torch, onnxruntime]
  quantization: [none, int8-dynamic]
  quantization_aware: auto
"""


def test_only_deployments_in_int8_train_with_rounding() -> None:
    space = load(STUDY, host=WITH_ONNX).study.space

    def strategy(**values: Value) -> Strategy:
        return complete(space, {"runtime": "onnxruntime", "quantization_aware": True, **values})

    int8, fp32 = (strategy(quantization=value) for value in ("int8-dynamic", "none"))
    assert int8["quantization_aware"] is True
    assert fp32["quantization_aware"] is False
    assert training_key(int8) != training_key(fp32)
    other_runtime = Strategy({**int8.values, "inference_threads": 1})
    assert training_key(int8) == training_key(other_runtime)


def test_without_a_runtime_for_int8_it_is_left_out() -> None:
    resolved = load(STUDY, host=CPU)
    assert "quantization_aware" not in levers(resolved.study.space)
    reasons = {setting.lever: setting.reason for setting in resolved.skipped}
    assert "this host cannot offer" in reasons["quantization_aware"]


def test_a_study_without_int8_cannot_search_it() -> None:
    fp32 = STUDY.replace("[none, int8-dynamic]", "none")
    with pytest.raises(SpecError, match="quantization_aware never matters: no strategy"):
        load(fp32, host=WITH_ONNX)
