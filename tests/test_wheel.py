"""The wheel works without the repository: it contains migrations, study files and the dashboard."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked in a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run_autotune(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    code = (
        "import sys; "
        f"sys.path[:] = [p for p in sys.path if p != {str(ROOT)!r}]; "
        "import autotune; "
        f"assert autotune.__file__.startswith({str(installed)!r}), autotune.__file__; "
        "from autotune.cli import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, env=environment, text=True,
        capture_output=True, check=False, timeout=120,
    )  # fmt: skip


def test_all_files_are_in_the_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for part in ("_alembic/env.py", "_search_spaces/bert.yaml", "_search_spaces/schema.json",
                 "_dashboard/main.py", "py.typed"):  # fmt: skip
        assert f"autotune/{part}" in names
    assert not [name for name in names if name.startswith(("tests/", "alembic/", "dashboard/"))]


def test_bundled_studies_validate(installed: Path, tmp_path: Path) -> None:
    process = run_autotune(installed, tmp_path, "validate", "bert")
    assert process.returncode == 0, process.stderr


def test_migrations_run(installed: Path, tmp_path: Path) -> None:
    process = run_autotune(
        installed, tmp_path, "db", "upgrade", "--storage", f"sqlite:///{tmp_path}/w.db"
    )
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "w.db").exists()


def test_the_dashboard_starts(installed: Path, tmp_path: Path) -> None:
    process = run_autotune(installed, tmp_path, "dashboard", "--storage", "sqlite:///missing.db")
    assert process.returncode != 0
    assert "missing.db" in process.stderr
    assert "Traceback" not in process.stderr
