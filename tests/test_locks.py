"""File locks: exclusive between open files, inherited by forks, released by the kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from autotune.locks import lock_file

HOLDER = """
import sys, time
from pathlib import Path
from autotune.locks import lock_file
assert lock_file(Path(sys.argv[1])) is not None
print("locked", flush=True)
time.sleep(600)
"""


def test_lock_is_exclusive_and_keeps_the_content(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("driver")
    holder = lock_file(path)
    assert holder is not None
    assert lock_file(path) is None
    assert path.read_text() == "driver"
    os.close(holder)
    again = lock_file(path)
    assert again is not None
    os.close(again)


def test_killed_holder_releases_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        assert lock_file(path) is None
        process.kill()
    descriptor = lock_file(path)
    assert descriptor is not None
    os.close(descriptor)


def test_fork_holds_the_lock_of_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = lock_file(path)
    assert holder is not None
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    os.close(holder)
    assert lock_file(path) is None
    os.close(writer)
    os.waitpid(pid, 0)
    descriptor = lock_file(path)
    assert descriptor is not None
    os.close(descriptor)
