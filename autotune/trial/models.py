"""Loads the model of a trial from local files: a BERT-like encoder with a new head."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pickle import UnpicklingError  # nosec B403  # torch's restricted unpickler raises it
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from autotune.domain.registry import import_function
from autotune.domain.text import one_line, shorten
from autotune.errors import ModelError, Unsupported, UsageError
from autotune.levers.numerics import UNPADDED
from autotune.trial.data.prepared import PreparedTask
from autotune.trial.effects.attention import exclude_cudnn_attention
from autotune.trial.head import fit_head, trained_head
from autotune.trial.model_sources import read_config
from autotune.trial.tasks import get_task_type

LOADING_ERRORS = (
    OSError, ValueError, KeyError, RuntimeError, EOFError, SafetensorError, UnpicklingError,
)  # fmt: skip
"""What damaged weights, and ``.bin`` files with anything but tensors, raise."""

DROPOUTS = (
    "activation_dropout",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "classifier_dropout_prob",
    "cls_dropout",
    "dropout",
    "embedding_dropout",
    "hidden_dropout",
    "hidden_dropout_prob",
    "mlp_dropout",
    "pooler_dropout",
    "qa_dropout",
    "seq_classif_dropout",
)
"""Names of dropout probabilities in the configs of model families."""


def load_model(
    prepared: PreparedTask, *, attention: str = "sdpa", dropout: float | None = None, seed: int = 0
) -> PreTrainedModel:
    """The pretrained model of ``prepared`` in fp32 on the CPU, its head initialised with ``seed``.

    ``attention`` is a setting of the lever. A model that lacks it in transformers uses the next
    simpler one, as with Trainer (:func:`attention_fallback`). ``dropout`` replaces all dropout
    probabilities of the model; ``None`` keeps them. A head that was trained for the same labels is
    kept, in their order here (:mod:`autotune.trial.head`). Raises :class:`ModelError` if the files
    are not such a model.
    """
    names = dict(enumerate(prepared.label_names))
    exclude_cudnn_attention()
    try:
        before = read_config(prepared.model_dir)
        config = read_config(
            prepared.model_dir,
            id2label=names,
            label2id={name: index for index, name in names.items()},
        )
        config.problem_type = get_task_type(prepared.kind).problem_type
        _set_dropout(config, dropout)
        usable = _supported_attention(_model_class(prepared, config), attention)
        model, report = _load(prepared, config, usable, seed)
    except LOADING_ERRORS as error:
        problem = shorten(one_line(error), 300) or type(error).__name__
        raise ModelError(
            f"{prepared.model_dir}: the model cannot be loaded: {problem}",
            hint="name a directory written by save_pretrained, or a hub id",
        ) from error
    _require_weights(prepared, model, report)
    head = trained_head(model, report)
    if head is not None:
        fit_head(head, before, prepared.label_names, seed)
    return model


def _load(
    prepared: PreparedTask, config: PretrainedConfig, attention: str, seed: int
) -> tuple[PreTrainedModel, dict[str, Any]]:
    with _quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, report = model_loader(prepared).from_pretrained(
            prepared.model_dir,
            config=config,
            attn_implementation=attention,
            dtype=torch.float32,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # initialise a head that has other labels
            output_loading_info=True,
        )
    return model, report


def _set_dropout(config: PretrainedConfig, dropout: float | None) -> None:
    if dropout is not None:
        for name in DROPOUTS:
            if getattr(config, name, None) is not None:
                setattr(config, name, dropout)


def attention_fallback(prepared: PreparedTask, attention: str) -> str | None:
    """A note that :func:`load_model` does not use the requested ``attention``; ``None`` if it does.
    The model must be loadable."""
    model_class = _model_class(prepared, read_config(prepared.model_dir))
    usable = _supported_attention(model_class, attention)
    if usable == attention:
        return None
    return f"{model_class.__name__} of transformers has no {attention} attention: {usable} is used"


def _supported_attention(model_class: type[PreTrainedModel], attention: str) -> str:
    """``attention``, or the next simpler one that the model has.

    Raises :class:`Unsupported` without the package of an attention that the model has.
    """
    if attention == UNPADDED and model_class._supports_flash_attn:
        if find_spec("flash_attn") is None:
            raise Unsupported(
                f"attention {UNPADDED} needs flash-attn", hint="pip install flash-attn"
            )
        return UNPADDED
    return "sdpa" if attention != "eager" and model_class._supports_sdpa else "eager"


def _model_class(prepared: PreparedTask, config: PretrainedConfig) -> type[PreTrainedModel]:
    loader = model_loader(prepared)
    is_own = prepared.model_class is not None
    model_class: type[PreTrainedModel] = loader if is_own else loader._model_mapping[type(config)]
    return model_class


def model_loader(prepared: PreparedTask) -> Any:
    """What loads the model of ``prepared``: an auto class of transformers, or the user's own class.

    Raises :class:`UsageError` for a class that cannot be imported, or is no model of transformers.
    """
    if prepared.model_class is None:
        return getattr(transformers, get_task_type(prepared.kind).auto_class)
    own = import_function(prepared.model_class, "task.model_class")
    if not (isinstance(own, type) and issubclass(own, PreTrainedModel)):
        raise UsageError(
            f"task.model_class: {prepared.model_class} is no subclass of PreTrainedModel",
            hint="write class MyModel(transformers.BertPreTrainedModel): ...",
        )
    return own


def _require_weights(
    prepared: PreparedTask, model: PreTrainedModel, report: dict[str, Any]
) -> None:
    """Raise if weights other than those of the head and the pooler are missing."""
    missing = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    prefix = f"{model.base_model_prefix}."
    encoder = sorted(key for key in missing if key.startswith(prefix) and ".pooler." not in key)
    if encoder:
        raise ModelError(
            f"{prepared.model_dir}: the weights lack {len(encoder)} tensors of the encoder, "
            f"such as {encoder[0]}",
            hint="the weights do not match config.json; save or download the model again",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the warning about the new head and the progress bar."""
    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()
