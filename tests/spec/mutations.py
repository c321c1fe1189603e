"""Mutated study files: random changes to bytes, lines, values and keys of valid ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.fuzz.mutations import change_lines, places

FOLDER = Path(__file__).parents[2] / "search_spaces"
SOURCES = [path.read_bytes() for path in sorted(FOLDER.glob("*.yaml"))]

ALWAYS = ("study", "objectives", "space")
"""The sections that every excerpt of a study file has."""

EXCERPT_ENTRIES = 2
"""Entries of each list and mapping below the sections of an excerpt."""

EXCERPTS = 20
"""Of so many files, all but one are excerpts: they take a fifth of the time to read, and a change
hits each section more often."""

VALUES: Sequence[str] = (
    "true", "no", "null", "~", "''", "0", "-1", "-0.0", "1.5", "1e400", "-1e400", "1e308", "5e-324",
    "1e18", "999999999999999999", "9" * 30, "9" * 5000, "0x10", "1_000", ".inf", ".nan", "²", "१२",
    "auto", "default", "[]", "{}", "[[]]", "[{}]", "[null]", "[1, a]", "{a: 1}", "{values: auto}",
    "{low: 1e400, high: 1e400}", "{low: 0, high: 1e308, step: 1e-300}", "{low: 8, high: 64, step: "
    "1e400}", "{values: [8], when: a}", "2024-01-01", "a > b", "((((", "baseline", "é\u202e",
    '"\\0"',
    '"\\ud83d"', '"\\e[31m"', "!!int x", "*x", "&x 1", "- 1", "accuracy >= baseline * 1e400",
    "batch_size == batch_size", "not (padding == fixed)", "'" + "(" * 300 + "1" + ")" * 300 + "'",
    "'" + "not " * 300 + "padding == fixed'", "{kind: ray}", "{kind: replay, landscape: x}",
    "no hypervolume gain in 999999999 trials", "x" * 300,
)  # fmt: skip
"""Values that a position can get."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

DOCUMENTS = [yaml.load(text, Loader=_Loader) for text in SOURCES]

Mutation = Callable[[bytes, random.Random], bytes]


def change_bytes(text: bytes, rng: random.Random) -> bytes:
    """Replace, insert or delete up to four bytes."""
    data = bytearray(text)
    for _ in range(rng.randint(1, 4)):
        index = rng.randrange(len(data))
        new = bytes([rng.choice((rng.randrange(256), *b":{}[],-'\"#&*!|> \n\t0"))])
        data[index : index + rng.randint(0, 1)] = new if rng.random() < 0.8 else b""
    return bytes(data)


def change_value(text: bytes, rng: random.Random) -> bytes:
    """Replace one value by an odd one, or by another of the file."""
    data = yaml.load(text, Loader=_Loader)
    container, key = rng.choice(list(places(data)))
    if rng.random() < 0.3:
        other, other_key = rng.choice(list(places(data)))
        return _dump(
            data, container, key, yaml.safe_dump(other[other_key], default_flow_style=True)
        )
    return _dump(data, container, key, rng.choice(VALUES))


def change_key(text: bytes, rng: random.Random) -> bytes:
    """Rename a key, to that of another position or by one character, or remove it."""
    data = yaml.load(text, Loader=_Loader)
    keys = [(c, k) for c, k in places(data) if isinstance(c, dict)]
    container, key = rng.choice(keys)
    value = container.pop(key)
    if rng.random() < 0.7:
        other = str(rng.choice(keys)[1])
        index = rng.randrange(len(str(key)))
        misspelt = str(key)[:index] + rng.choice("aeé_ ") + str(key)[index + 1 :]
        container[rng.choice((other, misspelt, "values", "when", "low"))] = value
    return _write(data).encode()


def excerpt(rng: random.Random) -> bytes:
    """A study file with one other section, and a part of all lists and mappings."""
    document = rng.choice(DOCUMENTS)
    other = rng.choice([key for key in document if key not in ALWAYS])
    sections = {key: _part(document[key], rng) for key in (*ALWAYS, other)}
    return _write(sections).encode()


def _part(value: Any, rng: random.Random) -> Any:
    """Some entries of a list or a mapping, and of those in it."""
    if isinstance(value, list):
        return [_part(entry, rng) for entry in value[:EXCERPT_ENTRIES]]
    if isinstance(value, dict):
        keys = rng.sample(list(value), min(len(value), EXCERPT_ENTRIES))
        return {key: _part(value[key], rng) for key in keys}
    return value


MUTATIONS: Sequence[Mutation] = (change_bytes, change_lines, change_value, change_key)


def _dump(data: Any, container: Any, key: Any, written: str) -> bytes:
    container[key] = "PLACEHOLDER"
    written = written.removesuffix("\n").removesuffix("\n...")
    return _write(data).replace("PLACEHOLDER", written).encode()


def _write(data: Any) -> str:
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=False)
    return text


class MutatedFiles:
    """``file(n)`` is the n-th mutated file, whatever was asked before."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def file(self, number: int) -> bytes:
        rng = random.Random(self.seed * 1_000_003 + number)
        text = excerpt(rng) if number % EXCERPTS else rng.choice(SOURCES)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            try:
                text = rng.choice(MUTATIONS)(text, rng)
            except (yaml.YAMLError, UnicodeError, IndexError, ValueError, TypeError,
                    AttributeError, RecursionError):  # fmt: skip
                text = change_bytes(text or b"\n", rng)  # no longer a mapping
        return text
