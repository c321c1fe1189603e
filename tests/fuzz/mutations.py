"""Random changes to what comes from outside: bytes, lines, and values and keys of JSON documents.

A normal run of the tests tries as many mutations of each kind as its test says.
``AUTOTUNE_FUZZ_FILES=20000`` tries that many instead, and ``AUTOTUNE_FUZZ_SEED=7`` others; such a
run needs ``--timeout 0``.
"""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from autotune.errors import AutotuneError

SEED = int(os.environ.get("AUTOTUNE_FUZZ_SEED", "0"))

ODD_VALUES: Sequence[Any] = (
    None, True, False, 0, -1, 1, -0.0, 0.5, 1e308, -1e308, 5e-324, float("inf"), float("nan"),
    10**18, -(10**30), "", " ", "x", "-1", "1.0", "1e400", "nan", "²", "१२", "\ud83d", "\0",
    "\x1b[31m", "é\u202e", "../../x", "x" * 5000, "\n", "\u2028", [], [[]], [None], [1, "a"], {},
    {"a": 1}, {"": {}}, {"value": None}, {"value": 1, "ci95": [1]}, [0] * 200, "2024-01-01",
    "true", "auto",
)  # fmt: skip
"""Values that a position of a document can get."""


def count(default: int) -> int:
    """The number of mutations that a test tries."""
    return int(os.environ.get("AUTOTUNE_FUZZ_FILES", default))


def generators(number: int) -> Iterator[random.Random]:
    """A generator for each of ``number`` mutations; each is the same whatever runs before it."""
    return (random.Random(SEED * 1_000_003 + index) for index in range(number))


def change_bytes(data: bytes, rng: random.Random) -> bytes:
    """Replace, insert, delete, repeat or cut bytes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        index = rng.randrange(len(changed) + 1)
        kind = rng.random()
        if kind < 0.6:
            new = bytes([rng.choice((rng.randrange(256), *b":{}[],-'\"\\\t\r\n 019eE.\0"))])
            changed[index : index + rng.randint(0, 1)] = new
        elif kind < 0.75:
            del changed[index : index + rng.randint(1, 8)]
        elif kind < 0.9:
            start = rng.randrange(len(changed) + 1)
            changed[index:index] = changed[start : start + rng.randint(1, 40)]
        elif kind < 0.95:
            del changed[index:]
    return bytes(changed)


def change_lines(data: bytes, rng: random.Random) -> bytes:
    """Delete, repeat, swap, join, cut or indent a line."""
    lines = data.split(b"\n")
    index, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(6)
    if kind == 0:
        del lines[index]
    elif kind == 1:
        lines.insert(other, lines[index])
    elif kind == 2:
        lines[index], lines[other] = lines[other], lines[index]
    elif kind == 3:
        lines[index : index + 2] = [b"".join(lines[index : index + 2])]
    elif kind == 4:
        lines[index] = b" " * rng.randint(1, 9) + lines[index].lstrip(b" " * rng.randint(0, 4))
    else:
        lines[index] = lines[index][: rng.randrange(len(lines[index]) + 1)]
    return b"\n".join(lines)


def change_document(document: Any, rng: random.Random) -> Any:
    """A copy of a JSON document with an odd value, a value of another position, or a key that is
    missing or misspelt, up to three times."""
    changed = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 2, 3))):
        spots = list(places(changed))
        if not spots:
            break
        container, key = rng.choice(spots)
        kind = rng.random()
        if kind < 0.6:
            container[key] = copy.deepcopy(rng.choice(ODD_VALUES))
        elif kind < 0.75:
            other, other_key = rng.choice(spots)
            container[key] = copy.deepcopy(other[other_key])
        else:
            value = container.pop(key)
            if isinstance(container, dict) and rng.random() < 0.4:
                container[f"{key}_"] = value
    return changed


def places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a document with each of its keys or indices."""
    if isinstance(data, dict | list):
        for key, value in list(data.items()) if isinstance(data, dict) else list(enumerate(data)):
            yield data, key
            yield from places(value)


def problem_of(action: Callable[[], object], *, names: str = "") -> str | None:
    """What is wrong with how ``action`` answers to a mutation: ``None`` if it returns, or raises an
    error that can be printed, has ``names`` in it, and is short."""
    try:
        action()
    except AutotuneError as error:
        message = f"{error.message} {error.hint or ''}"
        try:
            message.encode()
        except UnicodeEncodeError:
            return f"a message that cannot be printed: {message!a}"
        if names not in message:
            return f"a message without {names}: {message}"
        return f"a long message: {message[:200]}" if len(message) > 3000 else None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


class Problems:
    """The different problems, each with the first mutation that has it."""

    def __init__(self) -> None:
        self.first: dict[str, object] = {}

    def add(self, problem: str | None, mutation: object) -> None:
        if problem is not None:
            self.first.setdefault(problem[:120], mutation)
