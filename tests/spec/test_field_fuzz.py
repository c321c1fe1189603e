"""Mutated study files give a study or mistakes with locations, and never another exception.

A normal run tries 20,000 files. ``AUTOTUNE_FUZZ_FILES=100000`` tries that many instead, and
``AUTOTUNE_FUZZ_SEED=7`` others; such a run needs ``--timeout 0``.
"""

from __future__ import annotations

import os
import re
from datetime import date
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from autotune.domain import Host
from autotune.errors import SpecError, UsageError
from autotune.spec import load, validation
from tests.spec.hosts import CPU, GPU
from tests.spec.mutations import MutatedFiles

FILES = int(os.environ.get("AUTOTUNE_FUZZ_FILES", "20000"))
SEED = int(os.environ.get("AUTOTUNE_FUZZ_SEED", "0"))
PARTS = 5


def problem_with(path: Path, host: Host) -> str | None:
    """What is wrong with the answer to a file; ``None`` for a study or a list of mistakes."""
    try:
        load(path, host=host)
    except SpecError as error:
        if not error.mistakes or not all(m.message and m.line >= 1 for m in error.mistakes):
            return f"a mistake without message or location: {error}"
        str(error).encode()
    except UsageError as error:
        str(error).encode()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


@pytest.mark.parametrize("part", range(PARTS))
def test_mutated_files(part: int, tmp_path: Path) -> None:
    files, path = MutatedFiles(SEED), tmp_path / "study.yaml"
    problems: dict[str, int] = {}
    for number in range(part, FILES, PARTS):
        path.write_bytes(files.file(number))
        if (problem := problem_with(path, GPU if number % 3 == 0 else CPU)) is not None:
            problems.setdefault(problem, number)
    assert not problems


VALUES = [
    ("task: {seed: 1e400}", "a whole number"),
    ("space: {batch_size: [1e400]}", "batch_size cannot be inf"),
    ("space: {batch_size: {low: 8, high: 1e400}}", "a finite number"),
    ("sharing: maybe", "sharing: must be true or false, not 'maybe'"),
    ('task: {model: "a\\e[31m"}', "control character U+001B"),
    ('task: {model: "\\ud83d"}', "control character U+D83D"),
    ('? "a\\0b"\n: 1', "control character U+0000"),
]


@pytest.mark.parametrize(("section", "message"), VALUES)
def test_values_that_no_key_has(section: str, message: str) -> None:
    lines = ["study: s", "objectives: [accuracy]", "space: {batch_size: [8]}"]
    kept = [line for line in lines if line.split(":")[0] != section.split(":")[0]]
    with pytest.raises(SpecError, match=re.escape(message)) as caught:
        load("\n".join([*kept, section, ""]), host=CPU)
    str(caught.value).encode()


def test_a_kind_of_mistake_without_words_of_ours() -> None:
    class Odd(BaseModel):
        when: date

    with pytest.raises(ValidationError) as caught:
        Odd.model_validate({"when": "never"})
    (details,) = caught.value.errors()
    assert details["type"] not in validation._EXPECTED
    assert validation._message(details).startswith("must be a valid date")
    assert validation._message({**details, "msg": "Odd"}) == "'never' is not valid: Odd"
