"""The model that one search of limited time would deploy.

The space is that of ``search_spaces/bert-serve.yaml`` and the batches of the deployed model. The
search trades latency against throughput among strategies that lose at most a point of accuracy on
validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from landscapes.record import search

from autotune.analysis.select import select_trial
from autotune.cli.options import runs_directory
from autotune.domain import Strategy
from autotune.export.trained import trained_model_folder
from autotune.store import open_store

SPACES = Path(__file__).parents[1] / "search_spaces"
KNEE = "knee of the search"
STUDY = "deployment-search"
BASELINE = {"learning_rate": 2e-4}
"""What the default is trained with, besides the other defaults of ``Trainer``."""


def search_knee(task: Mapping[str, Any], minutes: float, out: Path) -> tuple[Strategy, Path]:
    """The strategy of the knee and the folder of its trained model, after a search of ``minutes``
    that includes its confirmations. A search that was interrupted goes on where it stopped."""
    out.mkdir(parents=True, exist_ok=True)
    path, url = out / f"{STUDY}.yaml", f"sqlite:///{(out / 'search.db').resolve()}"
    document = study_document(task, minutes)
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    search(path, url, [])
    store = open_store(url)
    study, trials = store.study(STUDY), store.trials(STUDY)
    store.close()
    knee = select_trial(study, trials, "knee")
    return knee.strategy, trained_model_folder(study, trials, knee, runs_directory())


def study_document(task: Mapping[str, Any], minutes: float) -> dict[str, Any]:
    """The study file."""
    document: dict[str, Any] = yaml.safe_load((SPACES / "bert-serve.yaml").read_text("utf-8"))
    return {
        **document,
        "study": STUDY,
        "task": dict(task),
        "objectives": [
            {"metric": "latency_p95_ms", "direction": "minimize"},
            {"metric": "deployed_samples_per_second", "direction": "maximize"},
        ],
        "constraints": ["deployed_accuracy >= baseline - 0.01"],
        "baseline": BASELINE,
        "space": {
            **document["space"], "inference_batch_size": "auto", "inference_padding": "auto",
        },
        "budget": {"minutes": minutes},
        "confirm": {"top": 2, "seeds": 2},
    }  # fmt: skip
