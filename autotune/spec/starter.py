"""The commented study file that ``autotune init`` writes."""

from __future__ import annotations

from autotune.components import SAMPLERS

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
  max_length: 128                  # tokens; longer texts are truncated
  train_samples: 1024              # remove to train on all samples
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
  batch_size: [8, 16, 32, 64]
  precision: auto
  padding: [dynamic, bucketed]
  pruning_ratio: {{low: 0.0, high: 0.75, step: 0.25}}
  learning_rate: {{low: 1e-5, high: 1e-3, log: true}}
  # pruning_method: {{values: [structured, layers], when: pruning_ratio >= 0.5}}

# Forbidden combinations.
# rules:
#   - {{exclude: batch_size == 64 and precision == fp32, because: too slow here}}

# Strategies to run before those of the sampler.
# start_with:
#   - {{batch_size: 32, precision: bf16}}

budget: {{trials: 24, minutes: 15}}  # the first limit reached ends the search; also usd
# limits: {{memory_gib: 8, minutes: 5}}               # of one trial
# prices: {{cpu_core: 0.04, gpus: {{H100: 2.95}}}}      # US dollars per hour
# executor: {{kind: local, workers: 1}}
# sampler: tpe                                       # {samplers}
# storage: sqlite:///autotune.db
# plugins: [my_levers.py]                            # your own levers and metrics
"""


def starter(name: str = "my-study") -> str:
    """A study file that can be run as it is, named ``name``, with other options as comments."""
    others = ", ".join(sampler for sampler in SAMPLERS if sampler != "tpe")
    return _STARTER.format(name=name, samplers=others)
