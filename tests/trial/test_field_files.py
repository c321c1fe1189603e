"""Files of trials and of the cache in folders as users have them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

from autotune.domain import Job, Limits, Resources, Strategy, Task
from autotune.errors import DataError
from autotune.trial.data.cache import cache_root
from autotune.trial.job_files import write_job


def test_field_each_trial_has_a_log_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "0000"
    job = Job("bert", 0, Strategy({}), Task(), 0, Resources(), Limits(), str(folder))
    write_job(job)
    (folder / "log.txt").write_text("of the first trial 0\n")
    (folder / "result.json").write_text("{}")
    write_job(job)
    assert not (folder / "log.txt").exists()
    assert not (folder / "result.json").exists()
    assert (folder / "log.earlier.txt").read_text() == "of the first trial 0\n"


def test_field_a_user_without_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> NoReturn:
        raise RuntimeError("Could not determine home directory.")

    for name in ("AUTOTUNE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(DataError, match="HOME is not set") as error:
        cache_root()
    assert "AUTOTUNE_CACHE" in (error.value.hint or "")
    monkeypatch.setenv("AUTOTUNE_CACHE", os.fspath(Path("/cache")))
    assert cache_root() == Path("/cache")
