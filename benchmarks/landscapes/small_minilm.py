"""Write the first two layers of all-MiniLM-L6-v2 as a separate model, for ``minilm.yaml``.

python benchmarks/landscapes/small_minilm.py ~/data/minilm-2        # needs the extra `demo`
"""

from __future__ import annotations

import sys
from pathlib import Path

from transformers import AutoModel, AutoTokenizer

from autotune.trial.builtin import minilm_directory

LAYERS = 2


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit((__doc__ or "").strip())
    source, target = minilm_directory(), Path(sys.argv[1])
    model = AutoModel.from_pretrained(source, local_files_only=True)
    model.encoder.layer = model.encoder.layer[:LAYERS]
    model.config.num_hidden_layers = LAYERS
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(source, local_files_only=True).save_pretrained(target)


if __name__ == "__main__":
    main()
