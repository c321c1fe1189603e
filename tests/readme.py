"""The README's table of levers, made from the registry: ``python -m tests.readme`` writes it."""

from __future__ import annotations

from pathlib import Path

from autotune.levers import LEVERS, Lever

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- levers: python -m tests.readme -->\n", "<!-- end of levers -->\n"


def table() -> str:
    rows = ["| lever | settings | changes |", "|---|---|---|"]
    return "\n".join([*rows, *(_row(lever) for lever in LEVERS.values())]) + "\n"


def _row(lever: Lever) -> str:
    changes = ", ".join(sorted(lever.influences))
    return f"| `{lever.name}` | {lever.describe()} | {changes} |"


def written() -> str:
    return README.read_text(encoding="utf-8").split(START)[1].split(END)[0]


if __name__ == "__main__":
    before, rest = README.read_text(encoding="utf-8").split(START)
    README.write_text(before + START + table() + END + rest.split(END)[1], encoding="utf-8")
