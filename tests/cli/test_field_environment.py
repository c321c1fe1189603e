"""Environment variables that make no sense: a message that names what is wrong."""

from __future__ import annotations

import sys

import pytest

from autotune.cli.app import main
from autotune.cli.output import print_json, replace_unprintable
from autotune.errors import UsageError
from autotune.hardware.host import tools
from autotune.spec import load
from autotune.trial.data.cache import cache_root
from tests.spec.hosts import CPU

NO_SUCH_HOME = "~no-such-user/folder"


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("nonsense", "sqlite:///nonsense"),
        ("postgresql://user:s3cret@host:port/database", "the storage is no URL"),
        ("sqlite:///:memory:", "a SQLite storage needs a file"),
        (f"sqlite:///{NO_SUCH_HOME}.db", "the home folder is not known"),
        ("sqlite:////proc/self/status/autotune.db", "no autotune storage"),
        (f"sqlite:///{'x' * 300}/autotune.db", "File name too long"),
    ],
)
def test_field_a_storage_that_is_none(
    storage: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOTUNE_STORAGE", storage)
    monkeypatch.setattr(sys, "argv", ["autotune", "studies"])
    with pytest.raises(SystemExit) as end:
        main()
    printed = " ".join(capsys.readouterr().err.split())
    assert end.value.code in (1, 2)
    assert message in printed and "hint:" in printed
    assert "unexpected" not in printed and "s3cret" not in printed


def test_field_a_folder_of_a_user_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNE_CACHE", NO_SUCH_HOME)
    with pytest.raises(UsageError, match="no-such-user/folder: the home folder is not known"):
        cache_root()
    with pytest.raises(UsageError, match="the home folder is not known"):
        load(f"study: s\nobjectives: [accuracy]\nplugins: [{NO_SUCH_HOME}.py]\n", host=CPU)


def test_field_a_compiler_that_is_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CC", '"gcc')
    assert "cc" not in tools()


def test_field_a_closed_output_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    replace_unprintable()
    print_json({"study": "s"})
    sys.stdout.close()
