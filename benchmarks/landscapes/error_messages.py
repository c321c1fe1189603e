"""Write the data set ``errors``: of which class is the exception with this message?

    python benchmarks/landscapes/error_messages.py ~/data/errors

The messages are those of ``raise`` statements in the packages that autotune depends on, read with
``ast`` without importing them. Values in a message are replaced by ``x``. A file contributes to one
split only, and a message that two classes have is left out.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import random
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("accelerate", "datasets", "numpy", "optuna", "pyarrow", "pydantic", "ray", "sklearn",
            "sqlalchemy", "streamlit", "torch", "transformers")  # fmt: skip
CLASSES = ("ImportError", "NotImplementedError", "RuntimeError", "TypeError", "ValueError")
SIZES = {"train": 300, "validation": 100, "test": 100}
"""Messages of each class, by split."""

WORDS_PER_MESSAGE = range(4, 25)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit((__doc__ or "").strip())
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits().items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(f"{split}: {len(rows)} messages")


def splits() -> dict[str, list[dict[str, str]]]:
    """The rows of each split, in random order."""
    names: dict[str, set[str]] = defaultdict(set)
    split_of: dict[str, str] = {}
    for file in source_files():
        for name, message in messages(file):
            names[message].add(name)
            split_of.setdefault(message, split_of_file(file))
    rows: dict[str, list[dict[str, str]]] = {split: [] for split in SIZES}
    sizes: dict[tuple[str, str], int] = defaultdict(int)
    for message in sorted(names, key=digest):
        split, [label, *others] = split_of[message], sorted(names[message])
        if not others and sizes[split, label] < SIZES[split]:
            sizes[split, label] += 1
            rows[split].append({"text": message, "label": label})
    for split in rows.values():
        random.Random(0).shuffle(split)
    return rows


def source_files() -> Iterator[Path]:
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            yield from sorted(Path(folder).rglob("*.py"))


def split_of_file(file: Path) -> str:
    """Four fifths of the files are for training."""
    return ("validation", "test", "train")[min(int(digest("/".join(file.parts[-3:])), 16) % 10, 2)]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def messages(file: Path) -> Iterator[tuple[str, str]]:
    """(class, message) of the exceptions that ``file`` raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Raise(exc=ast.Call(func=ast.Name(id=name), args=[argument, *_])):
                text = " ".join(constant_text(argument).split())
                if name in CLASSES and len(text.split()) in WORDS_PER_MESSAGE:
                    yield name, text


def constant_text(node: ast.expr) -> str:
    """The text of a string or an f-string, with ``x`` for each value; empty for anything else."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(constant_text(part) or "x" for part in parts)
    return ""


if __name__ == "__main__":
    main()
