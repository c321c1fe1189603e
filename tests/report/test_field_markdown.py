"""Names from users become text in Markdown, and reports replace only reports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autotune.analysis import markdown
from autotune.analysis.snapshot import Snapshot
from autotune.domain.text import format_address, mask_passwords, one_line
from autotune.errors import UsageError
from autotune.export import artifact_texts
from autotune.export.checkpoint import model_card
from autotune.report.blocks import Command, Heading, Paragraph, Table
from autotune.report.markdown import markdown_text
from autotune.report.write import write_report
from tests.export import samples

IMAGE = "![x](https://example.org/x.png)"
NAMES = (IMAGE, '<img src="https://example.org/x">', "a\n\n# b", "| c |", "`d`", "_e_", "&lt;")


@pytest.mark.parametrize("name", NAMES)
def test_field_names_are_shown_as_text(name: str) -> None:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("gfm-like", {"linkify": False, "html": True})
    blocks = [Heading(name), Paragraph(name), Command(name), Table((name, "b"), [(name, "1")])]
    text = markdown_text(blocks) + f"\n{markdown.code(name)}\n"
    tokens = [t for token in parser.parse(text) for t in (token, *(token.children or []))]
    markup = {"image", "link_open", "html_inline", "html_block", "em_open"}
    assert not {token.type for token in tokens} & markup
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h2"]
    assert len([token for token in tokens if token.type == "tr_open"]) == 2
    assert len([token for token in tokens if token.type == "td_open"]) == 2
    heading = next(token for token in tokens if token.type == "inline")
    shown = "".join(child.content for child in heading.children or [])
    assert shown == one_line(name)


@pytest.mark.parametrize("text", ["# a", "- a", "1. a", "+ a", "==="])
def test_field_a_paragraph_stays_a_paragraph(text: str) -> None:
    from markdown_it import MarkdownIt

    types = [token.type for token in MarkdownIt().parse(markdown.paragraph(text))]
    assert types == ["paragraph_open", "inline", "paragraph_close"]


def test_field_a_model_card_shows_names_as_text() -> None:
    record = {"accuracy": {"value": 0.5, "ci95": None, "n": 10}}
    document = {
        "study": IMAGE, "trial": 1, "seed": 0, "strategy": {"batch_size": 8},
        "task": {"model": "a/b\nlicense: mine", "kind": "text-classification", "dataset": IMAGE},
        "data": {"label_names": [IMAGE, "a\n---"], "max_length": 8},
        "measured": record, "environment": {"device": IMAGE},
    }  # fmt: skip
    card = model_card(document, {"validation": record, "test": record}, note="")
    assert "\nlicense" not in card and "\n---\n\n" in card and card.count("\n---\n") == 1
    assert "![x](" not in card.replace(f"`{IMAGE}`", "")


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:S3CRET@h/x", "postgresql://u:S3CRET", "postgresql://h/x?password=S3CRET"],
)
def test_field_passwords_are_masked(url: str) -> None:
    assert "S3CRET" not in mask_passwords(f"cannot open {url} now")
    assert (
        mask_passwords("sqlite:///a.db and http://h:5000/x") == "sqlite:///a.db and http://h:5000/x"
    )
    assert "ET@" not in mask_passwords("no host 'ET@h'", "postgresql://u:S3CR@ET@h/x")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://[::1]:8700 is down", "http://[::1]:8700 is down"),
        ("postgresql://[fe80::1%eth0]/x", "postgresql://[fe80::1%eth0]/x"),
        ("postgresql://u:S3CRET@[::1]:5432/x", "postgresql://u:***@[::1]:5432/x"),
        ("postgresql://[u:S3CRET@h/x", "postgresql://[u:***@h/x"),
    ],
)
def test_field_addresses_of_ipv6_are_no_passwords(text: str, masked: str) -> None:
    assert mask_passwords(text) == masked


def test_field_addresses_of_ipv6_are_in_brackets() -> None:
    addresses = [format_address(host, 80) for host in ("::1", "[::1]", "h")]
    assert addresses == ["[::1]:80", "[::1]:80", "h:80"]


@pytest.mark.parametrize("file_format", ["html", "md"])
def test_field_reports_replace_reports_only(file_format: str, tmp_path: Path) -> None:
    snapshot = Snapshot(replace(samples.study(), name="a & b"), [samples.trial({"accuracy": 0.5})])
    target = tmp_path / "report"
    for _ in range(2):
        write_report(snapshot, {}, target, file_format)
    target.write_bytes(b"SQLite format 3\x00")
    with pytest.raises(UsageError, match="is no report"):
        write_report(snapshot, {}, target, file_format)
    assert target.read_bytes() == b"SQLite format 3\x00"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_field_a_report_does_not_write_through_a_link(tmp_path: Path) -> None:
    snapshot = Snapshot(samples.study(), [samples.trial({"accuracy": 0.5})])
    other, target = tmp_path / "other.md", tmp_path / "report.md"
    write_report(snapshot, {}, other, "md")
    before = other.read_text()
    target.symlink_to(other)
    write_report(Snapshot(replace(samples.study(), name="b"), snapshot.trials), {}, target, "md")
    assert other.read_text() == before and "study b" in target.read_text()


def test_the_card_of_a_pruned_model_says_where_its_shapes_are() -> None:
    document = {
        "study": "s", "trial": 1, "seed": 0, "strategy": {"batch_size": 8},
        "task": {"model": "a/b", "kind": "text-classification", "dataset": "d"},
        "data": {"label_names": ["a", "b"], "max_length": 8}, "measured": {}, "environment": {},
        "exported": {}, "tested": {},
    }  # fmt: skip
    card = artifact_texts.model_card(document, is_pruned=True)
    assert 'from_pretrained("pruned", trust_remote_code=True)' in card
    assert "Heads and neurons" not in artifact_texts.model_card(document, is_pruned=False)
