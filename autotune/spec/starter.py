"""The commented study file that ``autotune init`` writes."""

from __future__ import annotations

_STARTER = """\
# A study: how should this model be fine-tuned on this machine?
#   autotune validate FILE --explain     what would be searched here, and what would not, and why
#   autotune search FILE                 search; run it again to go on from where it ended
study: {name}

task:
  kind: text-classification
  model: builtin:minilm            # a hub id (google-bert/bert-base-uncased) or a directory will do
  dataset: builtin:docstrings      # a hub id (glue/sst2), or your own files:
  # dataset: {{train: train.jsonl, validation: validation.jsonl, test: test.jsonl}}
  # columns: {{text: text, label: label}}
  epochs: 1                        # or steps: 500
  max_length: 128                  # word pieces; longer texts are cut
  train_samples: 1024              # leave out to train on everything
  validation_samples: 512

# What to push. One front of best compromises comes out.
objectives:
  - train_samples_per_second
  - accuracy
  - {{metric: cost_usd, direction: minimize}}

# What must hold; baseline is the default configuration, which is measured first.
constraints:
  - accuracy >= baseline - 0.02
  # - peak_memory_gib <= 8

# What may be changed: a list, a range, one fixed value, or auto (all that this machine can do).
# Levers that are not named keep the default of Hugging Face's Trainer.
space:
  batch_size: [8, 16, 32, 64]
  precision: auto
  padding: [dynamic, bucketed]
  pruning_ratio: {{low: 0.0, high: 0.75, step: 0.25}}
  learning_rate: {{low: 1e-5, high: 1e-3, log: true}}
  # pruning_method: {{values: [structured, layers], when: pruning_ratio >= 0.5}}

# Combinations that are not worth trying.
# rules:
#   - {{exclude: batch_size == 64 and precision == fp32, because: too slow here}}

# Strategies to try before the sampler proposes its own.
# start_with:
#   - {{batch_size: 32, precision: bf16}}

budget: {{trials: 24, minutes: 15}}  # whichever comes first; usd is a third
# limits: {{memory_gib: 8, minutes: 5}}               # of one trial
# prices: {{cpu_core: 0.04, gpus: {{H100: 2.95}}}}      # US dollars per hour
# executor: {{kind: local, workers: 1}}
# sampler: tpe                                       # nsga2, random, grid, qmc
# storage: sqlite:///autotune.db
"""


def starter(name: str = "my-study") -> str:
    """A study file that runs as it is, named ``name``, with the other choices as comments."""
    return _STARTER.format(name=name)
