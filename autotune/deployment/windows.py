"""Windows of texts that are longer than the model takes, as in the trial.

Needs only ``tokenizers``, because exported folders contain a copy. The windows are those of
:mod:`autotune.trial.tasks.texts` and :mod:`autotune.trial.tasks.context_windows`.
"""

from __future__ import annotations

from tokenizers import Encoding, Tokenizer

from autotune.deployment.artifact import Artifact


def text_windows(
    tokenizer: Tokenizer, artifact: Artifact, text: str, pair: str | None = None
) -> list[Encoding]:
    """The windows of ``text``, or those of ``pair``, each with ``text``. A text that leaves no
    space for its pair is cut."""
    if pair is not None:
        special = tokenizer.num_special_tokens_to_add(is_pair=True)
        text = _cut(tokenizer, text, artifact.max_length - special - artifact.stride - 1)
    return _windows(tokenizer, artifact, text, pair)


def question_windows(
    tokenizer: Tokenizer, artifact: Artifact, question: str, context: str
) -> list[Encoding]:
    """The windows of ``context``, each with the question, of at most half of their length."""
    question = _cut(tokenizer, question.lstrip(), artifact.max_length // 2)
    return _windows(tokenizer, artifact, question, context)


def _windows(
    tokenizer: Tokenizer, artifact: Artifact, text: str, pair: str | None
) -> list[Encoding]:
    strategy = "longest_first" if pair is None else "only_second"
    tokenizer.enable_truncation(
        artifact.max_length,
        stride=artifact.stride,
        strategy=strategy,
        direction=artifact.truncation_side,
    )
    encoding = tokenizer.encode(text, pair)
    return [encoding, *encoding.overflowing]


def _cut(tokenizer: Tokenizer, text: str, max_tokens: int) -> str:
    """The characters of the first ``max_tokens`` tokens of ``text``."""
    tokenizer.no_truncation()
    spans = tokenizer.encode(text, add_special_tokens=False).offsets
    return text if len(spans) <= max_tokens else text[: spans[max_tokens - 1][1]]
