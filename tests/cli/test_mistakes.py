"""Mistakes in commands and files: a message and an exit code, never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CommandLine, write_rows

ROWS = [{"text": f"some words {n}", "label": "ab"[n % 2]} for n in range(20)]


def expect_error(cli: CommandLine, *arguments: str) -> str:
    result = cli.run(*arguments)
    assert result.code == 2, result.err
    assert "Traceback" not in result.err
    return result.err


def test_mistakes_in_a_file_have_a_line(cli: CommandLine) -> None:
    path = cli.path / "tiny.yaml"
    path.write_text(
        path.read_text().replace("batch_size", "batch_sise").replace("seed: 1", "seed: x")
    )
    error = expect_error(cli, "validate", "tiny.yaml")
    assert "tiny.yaml:6:" in error
    assert "did you mean batch_size" in error


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
def test_wrong_input_is_an_error_message(cli: CommandLine, arguments: tuple[str, ...]) -> None:
    result = cli.run(*arguments)
    assert result.code in (1, 2)
    assert "error:" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "words", "label": "a"}] * 20, "only one label"),
        ([{"words": "x", "label": "a"}] * 4, "column"),
    ],
    ids=["one class", "missing column"],
)
def test_unusable_data_stops_before_any_trial(
    cli: CommandLine, rows: list[dict[str, Any]], message: str
) -> None:
    write_rows(cli.path / "train.jsonl", rows)
    text = expect_error(cli, "search", "tiny.yaml")
    assert message in text
    assert "train.jsonl" in text
    assert cli.run("studies", "--json").document == [], "the name is still free"


def test_compare_devices_checks_the_data_first(cli: CommandLine) -> None:
    write_rows(cli.path / "train.jsonl", [{"words": "x", "label": "a"}] * 4)
    assert "column" in expect_error(cli, "compare-devices", "tiny.yaml")


def test_local_executor_keeps_its_overrides() -> None:
    from autotune.cli.commands.search import _overrides

    overrides = ["executor.workers=4", "task.seed=2"]
    assert _overrides(overrides, "local", None, no_sharing=False) == [
        *overrides, "executor=local", "executor.workers=4",
    ]  # fmt: skip


def test_next_commands_name_the_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    from autotune.cli.options import DEFAULT_STORAGE, storage_option

    monkeypatch.delenv("AUTOTUNE_STORAGE", raising=False)
    assert storage_option(None) == storage_option(DEFAULT_STORAGE) == ""
    assert storage_option("sqlite:///a b.db") == " --storage 'sqlite:///a b.db'"
    secret = storage_option("postgresql://me:secret@host/db")
    assert "secret" not in secret and "host/db" in secret
    monkeypatch.setenv("AUTOTUNE_STORAGE", "sqlite:///mine.db")
    assert storage_option("sqlite:///mine.db") == ""


def test_corrupt_database_is_named(cli: CommandLine) -> None:
    (cli.path / "autotune.db").write_bytes(b"this is no database" * 100)
    result = cli.run("studies")
    assert result.code == 1
    assert "autotune.db" in result.err
    assert "Traceback" not in result.err


def test_init_writes_a_valid_file(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    assert cli.run("init", "mine.yaml").code == 0
    assert cli.run("validate", "mine.yaml").code == 0
    assert expect_error(cli, "init", "mine.yaml").count("exists")


def test_bundled_studies_have_a_name(tmp_path: Path) -> None:
    assert CommandLine(tmp_path).run("validate", "bert").code == 0


def test_explain_and_hardware(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    assert "tf32" in cli.run("validate", "bert", "--explain").out
    document = cli.run("hardware", "--json").document
    assert document["levers"]["threads"]["auto"]
    assert document["fingerprint"]


def test_db_check_and_upgrade(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    assert cli.run("db", "upgrade").code == 0
    assert cli.run("db", "check", "--json").document["state"] == "current"


def test_version_and_quiet(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    assert cli.run("--version").out.startswith("autotune ")
    assert cli.run("-q", "validate", "bert").err == ""


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    assert "Traceback" in CommandLine(tmp_path).run("--debug", "validate", "nowhere.yaml").err
