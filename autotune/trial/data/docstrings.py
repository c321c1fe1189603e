"""``builtin:docstrings``: a data set of real text that needs no hub.

The task is to tell which of five libraries a paragraph of documentation is from. The paragraphs are
from docstrings of packages that autotune depends on, read with ``ast`` without importing them.
Names of the libraries are masked, paragraphs that occur in two libraries are dropped, and a source
file contributes to one split only, so that a model cannot memorise the answers.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import inspect
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from autotune.errors import DataError

LIBRARIES = ("optuna", "sqlalchemy", "streamlit", "torch", "transformers")
"""Import names, which are also the labels and the names of the distributions."""

SIZES: Mapping[str, int] = {"train": 400, "validation": 200, "test": 400}
"""Paragraphs of each library, by split. Validation and test are large, so that two strategies that
differ by two points can be told apart. Optuna has less text and contributes fewer."""

RECIPE_VERSION = 2
"""Increment it when the same packages give different rows."""

WORDS_PER_PARAGRAPH = range(12, 81)
"""Allowed number of words of a paragraph."""

PARAGRAPHS_PER_FILE = 12
"""Limits the influence of a single file on its split."""

NAMES = re.compile(
    r"\b(optuna|sql-?alchemy|streamlit|py-?torch|torch|transformers|hugging ?face)\w*"
    r"|\bst(?=\.[a-z])",
    re.IGNORECASE,
)
MARKUP = re.compile(r":[a-z:]+:`~?!?\.?([^`<]*?)\s*(?:<[^`]*>)?`|`+|\*\*")
CODE = re.compile(r">>>|^\s*\.\. |::\s*$|^\s*:\w+|^\s*[-=~^*]{3,}\s*$|[{}]|==|\|", re.MULTILINE)


Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Paragraph:
    """One masked paragraph, its library, and the source file it came from."""

    text: str
    label: str
    source: str


def package_versions() -> dict[str, str]:
    """The installed version of each library, which determine the rows."""
    try:
        return {name: importlib.metadata.version(name) for name in LIBRARIES}
    except importlib.metadata.PackageNotFoundError as error:
        raise DataError(
            f"builtin:docstrings reads the documentation of {', '.join(LIBRARIES)}; "
            f"{error.name} is not installed",
            hint="pip install autotune, which depends on all of them",
        ) from error


def write_splits(folder: Path, sizes: Mapping[str, int] = SIZES) -> None:
    """Write ``train.jsonl``, ``validation.jsonl`` and ``test.jsonl`` (text, label, source).

    ``sizes`` are paragraphs of each library by split; a library with less text contributes
    fewer, in the same proportions.
    """
    rows: dict[str, list[Paragraph]] = {split: [] for split in sizes}
    for paragraphs in _gather(sum(sizes.values())):
        for split, chosen in _divide(paragraphs, sizes).items():
            rows[split] += chosen
    for split, paragraphs in rows.items():
        lines = [json.dumps(vars(paragraph)) for paragraph in paragraphs]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _gather(count: int) -> list[list[Paragraph]]:
    """About ``count`` paragraphs of each library; none occurs in two of them."""
    min_count = count + count // 10 + PARAGRAPHS_PER_FILE
    by_library = [_read_library(name, min_count) for name in LIBRARIES]
    uses = Counter(paragraph.text for paragraphs in by_library for paragraph in paragraphs)
    return [[p for p in paragraphs if uses[p.text] == 1] for paragraphs in by_library]


def _read_library(name: str, min_count: int) -> list[Paragraph]:
    """At least ``min_count`` different paragraphs, if there are enough. Reads no more files than
    necessary, in an order that depends only on their names."""
    root = _root(name)
    files = sorted(
        (p.relative_to(root) for p in root.rglob("*.py")), key=lambda p: _order(p.as_posix())
    )
    texts: dict[str, Paragraph] = {}
    for file in files:
        source = f"{name}/{file.as_posix()}"
        new_texts = (text for text in _paragraphs(root / file) if text not in texts)
        for _, text in zip(range(PARAGRAPHS_PER_FILE), new_texts, strict=False):
            texts[text] = Paragraph(text, name, source)
        if len(texts) >= min_count:
            break
    return list(texts.values())


def _root(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"builtin:docstrings cannot find the source of {name}",
            hint=f"pip install --force-reinstall {name}",
        )
    return Path(spec.submodule_search_locations[0])


def _order(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _paragraphs(file: Path) -> Iterator[str]:
    """Masked prose paragraphs of the docstrings in ``file``, in order of appearance."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in the libraries' code
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # templates, and files for other Python versions
        return
    for docstring in _docstrings(tree):
        for block in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
            text = mask(block)
            if _is_prose(block, text):
                yield text


def _docstrings(node: ast.Module | ast.ClassDef | Function) -> Iterator[str]:
    """The docstrings of a module, its classes and functions; not of nested functions."""
    if docstring := ast.get_docstring(node, clean=False):
        yield docstring
    if not isinstance(node, Function):
        for child in node.body:
            if isinstance(child, ast.ClassDef | Function):
                yield from _docstrings(child)


def mask(block: str) -> str:
    """``block`` on one line, without markup, each library name replaced by ``library``."""
    return NAMES.sub("library", " ".join(MARKUP.sub(r"\1", block).split()))


def _is_prose(block: str, text: str) -> bool:
    letters = sum(character.isalpha() or character == " " for character in text)
    return (
        len(text.split()) in WORDS_PER_PARAGRAPH
        and letters >= 0.85 * len(text)
        and text[0].isalpha()
        and CODE.search(block) is None
    )


def _divide(paragraphs: list[Paragraph], sizes: Mapping[str, int]) -> dict[str, list[Paragraph]]:
    """Assign files to the splits that are furthest from their size, then cut the splits to size."""
    fraction = min(1.0, len(paragraphs) / sum(sizes.values()))
    target_sizes = {split: max(1, int(size * fraction)) for split, size in sizes.items()}
    files: dict[str, list[Paragraph]] = {}
    for paragraph in paragraphs:
        files.setdefault(paragraph.source, []).append(paragraph)
    splits: dict[str, list[Paragraph]] = {split: [] for split in sizes}
    for rows in files.values():
        smallest = min(splits, key=lambda split: len(splits[split]) / target_sizes[split])
        splits[smallest] += rows
    return {split: rows[: target_sizes[split]] for split, rows in splits.items()}
