"""The commented study file that ``autotune init`` writes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from autotune.components import SAMPLERS
from autotune.spec.yaml import write_scalar

START_WITH = (
    "padding: bucketed, learning_rate: 2e-4",
    "padding: bucketed, batch_size: 32, pruning_ratio: 0.25, learning_rate: 4e-4",
)
"""The strategies of a starter file, which are those of ``search_spaces/bert.yaml``."""

_STARTER = """\
# A study: find the best way to fine-tune this model on this machine.
#   autotune validate FILE --explain     list what is searched here, and what is left out and why
#   autotune search FILE                 search; run it again to continue
study: {name}

task:
  kind: text-classification
  model: builtin:minilm            # or a hub id (google-bert/bert-base-uncased) or a directory
  dataset: builtin:docstrings      # or a hub id (glue/sst2), or your own files:
  # dataset: {{train: train.jsonl, validation: validation.jsonl, test: test.jsonl}}
  # columns: {{text: text, label: label}}
  epochs: 1                        # or steps: 500
  max_length: 64                   # tokens; longer texts are truncated
  # CAP: trials train on 800 samples only, so that this demo takes minutes on two cores. With your
  # own data delete the next line: what is best for a few samples need not be best for all.
  train_samples: 800
  validation_samples: 512

# The metrics to optimise. The result is the Pareto front.
objectives:
  - train_samples_per_second
  - accuracy
  - {{metric: cost_usd, direction: minimize}}

# Conditions on the result. baseline is the default strategy, which is measured first.
constraints:
  - accuracy >= baseline - 0.02
  # - peak_memory_gib <= 8

# The levers to search: a list, a range, one fixed value, or auto (all that this machine can run).
# All other levers keep the defaults of Hugging Face's Trainer.
space:
  device: auto
  threads: auto
  allocator: auto                  # glibc's defaults, or settings that keep freed memory
  batch_size: [8, 16, 32, 64]
  precision: auto
  padding: [dynamic, bucketed]
  pruning_ratio: {{low: 0.0, high: 0.75, step: 0.25}}
  learning_rate: {{low: 1e-5, high: 1e-3, log: true}}
  # pruning_method: {{values: [structured, layers], when: pruning_ratio >= 0.5}}

# Forbidden combinations.
# rules:
#   - {{exclude: batch_size == 64 and precision == fp32, because: too slow here}}

# Strategies to try first, before the models of the sampler have data.
start_with:
{start_with}

budget: {{trials: 24, minutes: 15}}  # the first limit reached ends the search; also usd
confirm: {{top: 3, seeds: 1}}        # part of the budget: reruns of the finalists on unseen samples
limits: {{minutes: 4}}               # per trial; also memory_gib
# prices: {{cpu_core: 0.04, gpus: {{H100: 2.95}}}}      # US dollars per hour
# executor: {{kind: local, workers: 1}}
# sampler: tpe                                       # {samplers}
# storage: sqlite:///autotune.db
# plugins: [my_levers.py]                            # your own levers and metrics
"""


def starter(name: str = "my-study", start_with: Sequence[str] = START_WITH) -> str:
    """A study file that can be run as it is, named ``name``, with other options as comments.
    ``start_with`` are strategies, each as the text of a flow mapping without its braces."""
    others = ", ".join(sampler for sampler in SAMPLERS if sampler != "tpe")
    strategies = "\n".join(f"  - {{{strategy}}}" for strategy in start_with)
    return _STARTER.format(name=write_scalar(name), start_with=strategies, samplers=others)


def study_name(text: str) -> str:
    """The name of a study closest to ``text``: without accents, other characters as hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")[:100] or "my-study"
