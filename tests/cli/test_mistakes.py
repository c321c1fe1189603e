"""Whatever is typed or lies in the files: words, an exit code, never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Desk, write_rows

ROWS = [{"text": f"some words {n}", "label": "ab"[n % 2]} for n in range(20)]


def refused(desk: Desk, *arguments: str) -> str:
    result = desk.type(*arguments)
    assert result.code == 2, result.err
    assert "Traceback" not in result.err
    return result.err


def test_every_mistake_of_a_file_has_its_place(desk: Desk) -> None:
    path = desk.path / "tiny.yaml"
    path.write_text(
        path.read_text().replace("batch_size", "batch_sise").replace("seed: 1", "seed: x")
    )
    found = refused(desk, "validate", "tiny.yaml")
    assert "tiny.yaml:6:" in found
    assert "did you mean batch_size" in found


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "nowhere.yaml"),
        ("show", "tiny", "0"),
        ("trials", "tiny", "--storage", "sqlite:///nowhere.db"),
        ("search", "tiny.yaml", "--set", "budget.trials=none"),
        ("search", "tiny.yaml", "--set", "nonsense"),
        ("search", "tiny.yaml", "--storage", "oracle://x"),
        ("export", "tiny", "--to", "nothing"),
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
def test_wrong_input_is_answered_in_words(desk: Desk, arguments: tuple[str, ...]) -> None:
    result = desk.type(*arguments)
    assert result.code in (1, 2)
    assert "error:" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"text": "words", "label": "a"}] * 20, "only one label"),
        ([{"words": "x", "label": "a"}] * 4, "column"),
    ],
    ids=["one class", "missing column"],
)
def test_unusable_data_stops_before_any_trial(
    desk: Desk, rows: list[dict[str, Any]], said: str
) -> None:
    write_rows(desk.path / "train.jsonl", rows)
    text = refused(desk, "search", "tiny.yaml")
    assert said in text
    assert "train.jsonl" in text
    assert desk.type("studies", "--json").document == [], "the name is still free"


def test_devices_are_not_compared_on_unusable_data(desk: Desk) -> None:
    write_rows(desk.path / "train.jsonl", [{"words": "x", "label": "a"}] * 4)
    assert "column" in refused(desk, "compare-devices", "tiny.yaml")


def test_local_keeps_what_is_set_of_it() -> None:
    from autotune.cli.commands.search import _overrides

    given = ["executor.workers=4", "task.seed=2"]
    assert _overrides(given, "local", None, no_sharing=False) == [
        *given, "executor=local", "executor.workers=4",
    ]  # fmt: skip


def test_commands_to_type_next_name_the_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    from autotune.cli.options import DEFAULT_STORAGE, storage_option

    monkeypatch.delenv("AUTOTUNE_STORAGE", raising=False)
    assert storage_option(None) == storage_option(DEFAULT_STORAGE) == ""
    assert storage_option("sqlite:///a b.db") == " --storage 'sqlite:///a b.db'"
    secret = storage_option("postgresql://me:secret@host/db")
    assert "secret" not in secret and "host/db" in secret
    monkeypatch.setenv("AUTOTUNE_STORAGE", "sqlite:///mine.db")
    assert storage_option("sqlite:///mine.db") == ""


def test_a_corrupt_database_is_named(desk: Desk) -> None:
    (desk.path / "autotune.db").write_bytes(b"this is no database" * 100)
    result = desk.type("studies")
    assert result.code == 1
    assert "autotune.db" in result.err
    assert "Traceback" not in result.err


def test_init_writes_a_file_that_is_valid(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.type("init", "mine.yaml").code == 0
    assert desk.type("validate", "mine.yaml").code == 0
    assert refused(desk, "init", "mine.yaml").count("exists")


def test_shipped_studies_go_by_name(tmp_path: Path) -> None:
    assert Desk(tmp_path).type("validate", "bert").code == 0


def test_explain_and_hardware(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert "tf32" in desk.type("validate", "bert", "--explain").out
    document = desk.type("hardware", "--json").document
    assert document["levers"]["threads"]["auto"]
    assert document["fingerprint"]


def test_db_check_and_upgrade(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.type("db", "upgrade").code == 0
    assert desk.type("db", "check", "--json").document["state"] == "current"


def test_version_and_quiet(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.type("--version").out.startswith("autotune ")
    assert desk.type("-q", "validate", "bert").err == ""


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    assert "Traceback" in Desk(tmp_path).type("--debug", "validate", "nowhere.yaml").err
