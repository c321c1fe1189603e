"""Model sources: ``builtin:NAME``, a directory, or the hub.

Like a data source, a model source has an identity that changes when its files change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from autotune.domain.paths import expand_home
from autotune.domain.text import first_line, one_line, shorten
from autotune.errors import ModelError
from autotune.trial import builtin

InstallModel = Callable[[Path, Sequence[str]], str]
"""Installs the model, given an empty folder and the training texts. Returns the model's directory,
relative to the folder if it is inside."""

FILES = ("*.json", "*.txt", "*.model", "*.codes", "*.safetensors")
"""Files to download from the hub; :data:`PICKLED` only if there are no safetensors. Tokenizers read
``*.json``, ``vocab.txt``, ``merges.txt``, SentencePiece's ``*.model`` and fastBPE's ``*.codes``."""

PICKLED = "pytorch_model*.bin"
"""Weights in torch's format, in one file or several, from which transformers loads only tensors,
never code."""

VOCABULARY_FILES = ("tokenizer.json", "vocab.*", "*.model", "*.codes")
"""Vocabulary files of tokenizers; a model has one of them."""


@dataclass(frozen=True)
class ModelSource:
    """``identity`` (plain data) does not change while the model's files stay the same."""

    identity: Any
    install: InstallModel


def find_model(name: str, seed: int) -> ModelSource:
    """The model that ``task.model`` names; ``seed`` initialises ``builtin:bert-tiny``."""
    if name.startswith("builtin:"):
        return _builtin(name, seed)
    path = expand_home(name)
    if path.is_dir():
        return _directory(path)
    if path.is_absolute() or name.startswith((".", "~")):
        raise ModelError(
            f"task.model: there is no directory {name}",
            hint=f"paths are relative to {Path.cwd()}; a hub id looks like bert-base-uncased",
        )
    return _directory(_download(name))


def _builtin(name: str, seed: int) -> ModelSource:
    if name == "builtin:minilm":
        return _minilm(builtin.minilm_directory())
    if name == "builtin:bert-tiny":
        return _bert_tiny(seed)
    raise ModelError(
        f"task.model: there is no {name}", hint="there are builtin:minilm, builtin:bert-tiny"
    )


def _minilm(directory: Path) -> ModelSource:
    def install(folder: Path, texts: Sequence[str]) -> str:
        builtin.verify_minilm(directory)
        return str(directory)

    return ModelSource(_file_stamps(directory), install)


def _bert_tiny(seed: int) -> ModelSource:
    def install(folder: Path, texts: Sequence[str]) -> str:
        builtin.build_bert_tiny(folder / "model", texts, seed)
        return "model"

    return ModelSource({"bert-tiny": builtin.VOCABULARY_SIZE, "seed": seed}, install)


def _directory(path: Path) -> ModelSource:
    def install(folder: Path, texts: Sequence[str]) -> str:
        require_encoder(path)
        return str(path.resolve())

    return ModelSource(_file_stamps(path), install)


def _file_stamps(directory: Path) -> list[list[Any]]:
    """Path, size and modification time of each file, which change with the content."""
    files = sorted(path for path in directory.iterdir() if path.is_file())
    states = [(path, path.stat()) for path in files]
    return [[str(path.resolve()), state.st_size, state.st_mtime_ns] for path, state in states]


def digest_models(names: Sequence[str]) -> dict[str, str]:
    """A hash of the content of each model of ``names`` that is a directory: its config, weights and
    vocabulary. Hub models and built-in ones are left out: their files are those of their name."""
    folders = {name: expand_home(name) for name in names if not name.startswith("builtin:")}
    return {name: _content_digest(path) for name, path in folders.items() if path.is_dir()}


def _content_digest(folder: Path) -> str:
    content = blake2b(digest_size=8)
    for path in sorted({path for pattern in (*FILES, PICKLED) for path in folder.glob(pattern)}):
        if path.is_file():
            with path.open("rb") as file:
                content.update(path.name.encode() + file_digest(file, blake2b).digest())
    return content.hexdigest()


def require_encoder(directory: Path) -> None:
    """Raise :class:`ModelError` unless ``config.json`` describes a BERT-like encoder: one that
    transformers can both train to fill in masked words and put a classifier on."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    )

    config = _read_config_json(directory)
    kind = config["model_type"]
    both = {*MODEL_FOR_MASKED_LM_MAPPING_NAMES} & {*MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES}
    if kind not in both or config.get("is_encoder_decoder") or config.get("is_decoder"):
        raise ModelError(
            f"{directory}: a model of type {shorten(ascii(kind))} is not a BERT-like encoder",
            hint="try bert, distilbert, roberta, electra, or another masked language model",
        )


def _read_config_json(directory: Path) -> dict[str, Any]:
    """``config.json`` with a ``model_type``; raises :class:`ModelError` for other files."""
    try:
        config = json.loads((directory / "config.json").read_bytes())
        if isinstance(config, dict) and isinstance(config.get("model_type"), str):
            return config
        problem = "names no model_type" if isinstance(config, dict) else "is not an object"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except RecursionError:
        problem = "is nested too deep"
    except ValueError as error:
        problem = f"is not JSON: {shorten(one_line(error), 200)}"
    raise ModelError(
        f"{directory}: not a model: config.json {problem}",
        hint="name a directory written by save_pretrained",
    )


def _download(name: str) -> Path:
    """The model's folder in the cache of the hub's client; only missing files are downloaded."""
    from huggingface_hub import snapshot_download

    def fetch(*patterns: str, local: bool) -> Path:
        # Sub-folders have the same weights for other frameworks.
        directory = snapshot_download(
            name, allow_patterns=list(patterns), ignore_patterns="*/*", local_files_only=local
        )
        return Path(directory)

    try:
        folder = fetch(*FILES, PICKLED, local=True)
        if has_weights(folder) and has_tokenizer(folder):
            return folder
    except (OSError, ValueError):
        pass  # not cached yet
    try:
        folder = fetch(*FILES, local=False)
        return folder if _has_safetensors(folder) else fetch(PICKLED, local=False)
    except Exception as error:  # of any type: a proxy, a certificate, a library that is missing
        raise ModelError(
            f"task.model: cannot load {name} from the hub: {first_line(error)}",
            hint="check the name, the network and the proxy; or name a directory or builtin:minilm",
        ) from error


def read_config(model_dir: Path | str, **settings: Any) -> Any:
    """The model's config of transformers, with ``settings``. Its own choice of attention is
    ignored, because the strategy decides: building a model with it can fail."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(model_dir, local_files_only=True, **settings)
    except Exception as error:  # of any type: config classes validate in many ways
        raise ModelError(
            f"{model_dir}/config.json: transformers cannot read it: {type(error).__name__}: "
            f"{shorten(one_line(error), 300)}",
            hint="correct the value, or name a directory written by save_pretrained",
        ) from error
    config._attn_implementation = "eager"
    return config


def attention_note(model_dir: Path) -> str | None:
    """A note that the attention which ``config.json`` asks for is not used; ``None`` if it asks for
    none."""
    config = _read_config_json(model_dir)
    names = (config.get("attn_implementation"), config.get("_attn_implementation"))
    attention = next((name for name in names if name and name not in ("eager", "sdpa")), None)
    if attention is None:
        return None
    return f"config.json asks for {attention} attention; the strategy's attention is used instead"


def model_files(folder: Path) -> list[Path]:
    """The files of a model to copy from ``folder``; :data:`PICKLED` only without safetensors.

    Raises :class:`ModelError` for a link to a file outside of the folder and of the cache of the
    hub's client: a model from elsewhere could name any file of this machine.
    """
    patterns = FILES if any(folder.glob("*.safetensors")) else (*FILES, PICKLED)
    paths = [path for pattern in patterns for path in folder.glob(pattern) if path.is_file()]
    real = folder.resolve()
    roots = [real, real.parent.parent / "blobs"] if real.parent.name == "snapshots" else [real]
    for path in paths:
        target = path.resolve()
        if not any(target.is_relative_to(root) for root in roots):
            raise ModelError(
                f"{path} is a link to {target}, outside of the model's folder",
                hint=f"replace the link with the file: cp --remove-destination {target} {path}",
            )
        if not path.name.isprintable():
            raise ModelError(
                f"{folder}: the file name {one_line(path.name)} has characters that cannot be "
                "printed",
                hint="rename or remove the file",
            )
    return paths


def has_tokenizer(folder: Path) -> bool:
    """Whether ``folder`` has a vocabulary of a tokenizer."""
    return any(path for pattern in VOCABULARY_FILES for path in folder.glob(pattern))


def has_weights(folder: Path) -> bool:
    """Whether ``folder`` has weights, and all files of weights that are in several."""
    return _has_safetensors(folder) or _has_files(folder, PICKLED)


def _has_safetensors(folder: Path) -> bool:
    return _has_files(folder, "*.safetensors")


def _has_files(folder: Path, pattern: str) -> bool:
    suffix = pattern.rpartition("*")[2]
    for index in folder.glob(f"*{suffix}.index.json"):
        try:
            shards = set(json.loads(index.read_bytes())["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        if not all((folder / str(shard)).is_file() for shard in shards):
            return False
    return any(folder.glob(pattern))
