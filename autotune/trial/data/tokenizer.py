"""The tokenizer of a model, and what the model can take: tokens, positions, token types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from autotune.domain.text import first_line
from autotune.errors import ModelError
from autotune.trial.model_sources import VOCABULARY_FILES, has_tokenizer, read_config
from autotune.trial.tasks.base import Arrays, apply_prefix_space

SETTINGS = "tokenizer_config.json"

SENTENCEPIECE_PACKAGES = {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}
"""The packages with which transformers reads a SentencePiece model, with a module of each."""

MIN_LENGTH = 4
"""The shortest useful sequence: two special tokens and two others."""


@dataclass(frozen=True)
class ModelInputs:
    """``max_length`` is that of the task, limited to what the model takes. ``embeddings`` has the
    number of rows of its embeddings of tokens and token types, where it has them."""

    tokenizer: Any
    max_length: int
    embeddings: Mapping[str, int]

    @property
    def has_mask(self) -> bool:
        """Whether the model takes an attention mask."""
        return "attention_mask" in self.tokenizer.model_input_names


def load_inputs(model_dir: Path, options: Mapping[str, Any], max_length: int) -> ModelInputs:
    """Load the tokenizer with ``options``. Raises :class:`ModelError` if it cannot be used."""
    from transformers import AutoTokenizer

    # Without a vocabulary file, transformers creates an empty one.
    if not has_tokenizer(model_dir):
        raise ModelError(
            f"{model_dir}: no tokenizer here ({', '.join(VOCABULARY_FILES)})",
            hint="save the tokenizer in the same directory: tokenizer.save_pretrained(DIRECTORY)",
        )
    _require_own_vocabulary(model_dir)
    config = read_config(model_dir)
    try:
        tokenizer = AutoTokenizer.from_pretrained(model_dir, local_files_only=True, **options)
        apply_prefix_space(tokenizer)
    except Exception as error:  # of any type: a damaged file
        if needs := _missing_packages(model_dir):
            raise ModelError(
                f"{model_dir}: reading its SentencePiece vocabulary needs {' and '.join(needs)}",
                hint=f"pip install {' '.join(needs)}",
            ) from error
        if (damaged := _damaged_vocabulary(model_dir)) is not None:
            raise ModelError(
                f"{damaged}: not a SentencePiece vocabulary, or a damaged one",
                hint="copy or download this file again",
            ) from error
        raise ModelError(
            f"{model_dir}: the tokenizer cannot be loaded: {first_line(error)}",
            hint="the directory needs the files of the tokenizer and of the model",
        ) from error
    if tokenizer.pad_token_id is None:
        raise ModelError(
            f"{model_dir}: the tokenizer has no padding token",
            hint="add pad_token to its tokenizer_config.json",
        )
    longest = tokenizer.model_max_length
    if not isinstance(longest, int | float) or longest < MIN_LENGTH:
        raise ModelError(
            f"{model_dir}: model_max_length is {longest!r:.40} in "
            "tokenizer_config.json, so no text fits",
            hint="set it to the number of positions of the model, such as 512",
        )
    modules = _embedding_modules(config)
    limit = min(max_length, _positions(config, modules), longest)
    sizes = {
        name: int(modules[module].num_embeddings)
        for name, module in (("tokens", "word"), ("types", "token_type"))
        if hasattr(modules.get(module), "num_embeddings")
    }
    return ModelInputs(tokenizer, int(limit), sizes)


def _require_own_vocabulary(model_dir: Path) -> None:
    """Raise :class:`ModelError` if the settings of the tokenizer name a file as its vocabulary. Any
    file of this machine would be read, and be saved with the model."""
    try:
        settings = json.loads((model_dir / SETTINGS).read_bytes())
    except (OSError, ValueError, RecursionError):  # transformers says what is wrong
        return
    for key in ("vocab", "merges"):
        if isinstance(settings, dict) and isinstance(settings.get(key), str):
            raise ModelError(
                f"{model_dir}/{SETTINGS}: {key} names the file {settings[key]!r}",
                hint=f"remove {key}; the vocabulary is in the files of the directory",
            )


def require_embeddings(model_dir: Path, inputs: ModelInputs, arrays: Mapping[str, Arrays]) -> None:
    """Raise :class:`ModelError` if the data has a token, or a type of token, without an embedding
    in the model."""
    for name, rows in inputs.embeddings.items():
        used = [np.max(parts[name], initial=-1) for parts in arrays.values() if name in parts]
        largest = max(map(int, used), default=-1)
        if name == "tokens":
            largest = max(largest, int(inputs.tokenizer.pad_token_id))
        if largest < rows:
            continue
        if name == "types":
            raise ModelError(
                f"{model_dir}: the tokenizer makes {largest + 1} types of tokens, "
                f"the model has embeddings of {rows}",
                hint="save the tokenizer of this model in the same directory",
            )
        token = inputs.tokenizer.convert_ids_to_tokens(largest)
        raise ModelError(
            f"{model_dir}: the tokenizer has {len(inputs.tokenizer)} tokens, the model embeddings "
            f"of {rows}: none for {token!r} ({largest}), which the data contains",
            hint="model.resize_token_embeddings(len(tokenizer)), then save both again",
        )


def vocabulary_packages(model_dir: Path) -> tuple[str, ...]:
    """The packages besides transformers with which the tokenizer of ``model_dir`` is loaded."""
    if (model_dir / "tokenizer.json").exists() or not any(model_dir.glob("*.model")):
        return ()
    return tuple(SENTENCEPIECE_PACKAGES)


def _missing_packages(model_dir: Path) -> list[str]:
    """Those of :func:`vocabulary_packages` that are not installed."""
    names = vocabulary_packages(model_dir)
    return [name for name in names if not _is_installed(SENTENCEPIECE_PACKAGES[name])]


def _damaged_vocabulary(model_dir: Path) -> Path | None:
    """The first SentencePiece model that cannot be read: transformers takes it for one of another
    kind and asks for a package that does not help."""
    if (model_dir / "tokenizer.json").exists():
        return None
    for path in sorted(model_dir.glob("*.model")):
        from sentencepiece import SentencePieceProcessor

        try:
            SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError):
            return path
    return None


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a parent of it
        return False


def _embedding_modules(config: Any) -> dict[str, Any]:
    """The first ``word``, ``token_type`` and ``position`` embedding of the model, without weights.
    Empty if the model cannot be built so."""
    import torch
    from transformers import AutoModel

    try:
        with torch.device("meta"):
            model = AutoModel.from_config(config)
    except Exception:  # of any type: a damaged config.json
        return {}  # loading the model gives the reason
    modules: dict[str, Any] = {}
    for path, module in model.named_modules():
        name = path.rpartition(".")[2]
        for kind in ("token_type", "position"):
            if name == f"{kind}_embeddings":
                modules.setdefault(kind, module)
    with suppress(NotImplementedError):  # by transformers, for a model without tokens
        modules["word"] = model.get_input_embeddings()
    return modules


def _positions(config: Any, modules: Mapping[str, Any]) -> float:
    """The number of positions for tokens; infinity if there is no limit.

    Models in the manner of RoBERTa count positions from the padding token: their embedding of
    positions has a padding index, and positions up to it are not used.
    """
    positions = getattr(config, "max_position_embeddings", None)
    limit = float(positions) if positions is not None and positions > 0 else float("inf")
    module = modules.get("position")
    padding = getattr(module, "padding_idx", None)
    if padding is None:
        return limit
    return min(limit, float(getattr(module, "num_embeddings", limit))) - (int(padding) + 1)
