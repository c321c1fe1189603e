"""A loss, a collator and a score of the user's own, in the workers of a Ray cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autotune.domain import State
from autotune.store import open_store

CODE = """\
import torch.nn.functional as F

def double_loss(logits, labels):
    print("loss of my_functions")
    return 2 * F.cross_entropy(logits, labels, reduction="none")

def keep_inputs(inputs):
    print("collator of my_functions")
    return inputs

def share_of_first(labels, predictions, label_names):
    return float((predictions == 0).mean())
"""
STUDY = """\
study: own
task:
  model: builtin:bert-tiny
  train_samples: 64
  validation_samples: 48
  loss: my_functions:double_loss
  collator: my_functions:keep_inputs
  metrics: [my_functions:share_of_first]
objectives: [train_samples_per_second, share_of_first]
space: {batch_size: [16, 32], device: cpu, threads: 1}
executor: {kind: ray, workers: 1}
budget: {trials: 2}
"""


@pytest.mark.slow
def test_workers_of_ray_run_own_code(tmp_path: Path) -> None:
    (tmp_path / "my_functions.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "own.yaml").write_text(STUDY, encoding="utf-8")
    storage = f"sqlite:///{tmp_path}/own.db"
    search = subprocess.run(
        [sys.executable, "-m", "autotune", "search", "own.yaml"], cwd=tmp_path, check=False,
        env={**os.environ, "AUTOTUNE_STORAGE": storage}, capture_output=True, text=True,
        timeout=280,
    )  # fmt: skip
    assert search.returncode == 0, search.stderr
    store = open_store(storage, read_only=True)
    trials = store.trials("own")
    store.close()
    assert [trial.state for trial in trials] == [State.COMPLETE] * 2
    for trial in trials:
        assert 0.0 <= trial.result.measurements["share_of_first"].value <= 1.0
        log = (tmp_path / f"runs/own/{trial.number:04}/log.txt").read_text(encoding="utf-8")
        assert "loss of my_functions" in log
        assert "collator of my_functions" in log
