"""``builtin:docstrings``: real text that is on every machine, so that a first study needs no hub.

Which of five libraries is a paragraph of documentation from? The paragraphs are the docstrings of
packages that autotune itself depends on, read with ``ast`` (nothing is imported). Names of the
libraries are masked, paragraphs that occur in two libraries are dropped, and no source file gives
paragraphs to two splits, so that a model has to read rather than remember.
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
"""Import names, which are the labels and the names of the distributions too."""

SIZES: Mapping[str, int] = {"train": 400, "validation": 100, "test": 100}
"""Paragraphs of each library, by split."""

RECIPE_VERSION = 1
"""Raised when the same packages would give other rows than before."""

WORDS_PER_PARAGRAPH = range(12, 81)
"""How many words a paragraph may have."""

PARAGRAPHS_PER_FILE = 12
"""So that no single file colours the whole split it falls into."""

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


def library_versions() -> dict[str, str]:
    """The installed version of each library: the rows depend on these alone."""
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

    ``sizes`` are paragraphs of each library by split; a library that has less text gives what it
    has, in the same proportions.
    """
    rows: dict[str, list[Paragraph]] = {split: [] for split in sizes}
    for paragraphs in _gather(sum(sizes.values())):
        for split, chosen in _divide(paragraphs, sizes).items():
            rows[split] += chosen
    for split, paragraphs in rows.items():
        lines = [json.dumps(vars(paragraph)) for paragraph in paragraphs]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _gather(wanted: int) -> list[list[Paragraph]]:
    """Paragraphs by library, about ``wanted`` each, none that two of them share."""
    found = [_read_library(name, wanted + wanted // 10 + PARAGRAPHS_PER_FILE) for name in LIBRARIES]
    holders = Counter(paragraph.text for paragraphs in found for paragraph in paragraphs)
    return [[p for p in paragraphs if holders[p.text] == 1] for paragraphs in found]


def _read_library(name: str, wanted: int) -> list[Paragraph]:
    """At least ``wanted`` different paragraphs, where there are so many, and no more files read
    than that takes. Files come in an order that depends on their names alone."""
    root = _root(name)
    files = sorted(
        (p.relative_to(root) for p in root.rglob("*.py")), key=lambda p: _order(p.as_posix())
    )
    texts: dict[str, Paragraph] = {}
    for file in files:
        source = f"{name}/{file.as_posix()}"
        fresh = (text for text in _paragraphs(root / file) if text not in texts)
        for _, text in zip(range(PARAGRAPHS_PER_FILE), fresh, strict=False):
            texts[text] = Paragraph(text, name, source)
        if len(texts) >= wanted:
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
            warnings.simplefilter("ignore")  # of the libraries' own escapes, not ours to mend
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # templates and files for other Pythons
        return
    for docstring in _docstrings(tree):
        for block in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
            text = mask(block)
            if _is_prose(block, text):
                yield text


def _docstrings(node: ast.Module | ast.ClassDef | Function) -> Iterator[str]:
    """Those of a module, its classes and functions; functions inside functions have few."""
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
    """Whole files to splits, each to the one that is furthest from its size; then cut to size."""
    share = min(1.0, len(paragraphs) / sum(sizes.values()))
    wanted = {split: max(1, int(size * share)) for split, size in sizes.items()}
    files: dict[str, list[Paragraph]] = {}
    for paragraph in paragraphs:
        files.setdefault(paragraph.source, []).append(paragraph)
    splits: dict[str, list[Paragraph]] = {split: [] for split in sizes}
    for rows in files.values():
        neediest = min(splits, key=lambda split: len(splits[split]) / wanted[split])
        splits[neediest] += rows
    return {split: rows[: wanted[split]] for split, rows in splits.items()}
