"""Exports never destroy what autotune has not written, and never follow links."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from autotune.errors import UsageError
from autotune.export import checksums, exporter
from autotune.export.artifact_rows import validation_rows
from autotune.export.checkpoint import add_model
from autotune.export.directory import STAGING_PREFIX, replaced_export
from autotune.export.templates.folder import open_folder
from autotune.export.verify import require_unchanged, verify
from autotune.export.verify_artifact import verify_artifact
from tests.export import samples


def export(folder: Path, *, overwrite: bool = False, number: int = 8) -> None:
    """Export a trial of ``number`` threads, which changes the content."""
    trial = samples.trial(threads=number)
    exporter("yaml", overwrite=overwrite).export(samples.study(), trial, folder)


def test_field_another_programs_checksums_do_not_make_a_folder_ours(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    command = "sha256sum thesis.txt > SHA256SUMS"
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="not from an export"):
            export(tmp_path, overwrite=overwrite)
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.txt", "SHA256SUMS"}


def test_field_added_files_are_neither_sealed_nor_deleted(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        export(tmp_path, number=number)
        (tmp_path / "notes.txt").write_text("mine")
        assert "notes.txt" not in (tmp_path / checksums.MANIFEST).read_text()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_field_an_added_file_with_the_name_of_an_exported_one_stays(tmp_path: Path) -> None:
    export(tmp_path)
    (tmp_path / "train.py").write_text("mine")
    study = samples.study(samples.write_data(tmp_path / ".."))
    with pytest.raises(UsageError, match="in the way"):
        exporter("torchrun").export(study, samples.trial(), tmp_path)
    assert (tmp_path / "train.py").read_text() == "mine"
    assert checksums.changed_files(tmp_path) == ["train.py (added)"]


def test_field_edited_files_are_replaced_only_when_told(tmp_path: Path) -> None:
    export(tmp_path)
    (tmp_path / "strategy.yaml").write_text("edited: true")
    with pytest.raises(UsageError, match=r"changed since the export \(strategy\.yaml\)") as caught:
        export(tmp_path)
    assert "--force" in str(caught.value.hint)
    assert (tmp_path / "strategy.yaml").read_text() == "edited: true"
    export(tmp_path, overwrite=True)
    assert checksums.changed_files(tmp_path) == []


def test_field_results_of_a_run_are_not_taken_for_those_of_the_next_trial(tmp_path: Path) -> None:
    export(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained/model.safetensors").write_text("weights")
    with pytest.raises(UsageError, match=r"results of a run \(trained/\)"):
        export(tmp_path)
    assert (tmp_path / "metrics.json").exists()
    export(tmp_path, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"strategy.yaml", checksums.MANIFEST}


def test_field_a_failing_export_leaves_the_earlier_one(tmp_path: Path) -> None:
    out, study = tmp_path / "out", samples.study(samples.write_data(tmp_path))
    exporter("torchrun").export(study, samples.trial(), out)
    before = checksums.checksums(out)
    (tmp_path / "train.jsonl").rename(tmp_path / "moved.jsonl")
    with pytest.raises(UsageError):
        exporter("hf-trainer").export(study, samples.trial(), out)
    assert checksums.checksums(out) == before
    with pytest.raises(UsageError):
        exporter("hf-trainer").export(study, samples.trial(), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_field_a_killed_export_can_be_repeated(tmp_path: Path) -> None:
    export(tmp_path, number=1)
    (tmp_path / f"{STAGING_PREFIX}killed").mkdir()
    first = checksums.checksums(tmp_path)["strategy.yaml"]
    both = {"strategy.yaml": (*first, "0" * 64), "train.py": ("1" * 64,)}
    checksums.write_manifest(tmp_path, both, checksums.INCOMPLETE)  # as while files are moved
    with pytest.raises(UsageError, match="interrupted"):
        require_unchanged(tmp_path)
    export(tmp_path, number=2)
    assert checksums.changed_files(tmp_path) == []


def test_field_a_killed_first_export_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / f"{STAGING_PREFIX}killed").mkdir()
    export(tmp_path)
    assert checksums.changed_files(tmp_path) == []


def test_field_links_are_replaced_and_not_followed(tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim.txt"
    export(out)
    victim.write_text("keep me")
    (out / "strategy.yaml").unlink()
    (out / "strategy.yaml").symlink_to(victim)
    with pytest.raises(UsageError, match=r"strategy\.yaml"):
        export(out)
    export(out, overwrite=True)
    assert victim.read_text() == "keep me" and not (out / "strategy.yaml").is_symlink()


def test_field_folders_that_are_links_are_refused(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    study = samples.study(samples.write_data(tmp_path))
    exporter("torchrun").export(study, samples.trial(), out)
    (out / "data").rename(elsewhere)
    (out / "data").symlink_to(elsewhere)
    before = checksums.checksums(elsewhere)
    with pytest.raises(UsageError, match="is a link to"):
        exporter("torchrun", overwrite=True).export(study, samples.trial(pinning="none"), out)
    assert checksums.checksums(elsewhere) == before


def test_field_code_that_was_added_counts_as_a_change(tmp_path: Path) -> None:
    study = samples.study(samples.write_data(tmp_path))
    out = tmp_path / "out"
    exporter("torchrun").export(study, samples.trial(), out)
    require_unchanged(out)
    (out / "torch.py").write_text("raise SystemExit")
    with pytest.raises(UsageError, match=r"torch\.py \(added\)"):
        require_unchanged(out)
    (out / "torch.py").unlink()
    document = json.loads((out / "strategy.json").read_text())
    (out / "strategy.json").write_text(json.dumps({**document, "command": ["sh", "-c", "true"]}))
    with pytest.raises(UsageError, match=r"strategy\.json") as caught:
        require_unchanged(out)
    assert "--allow-changes" in str(caught.value.hint)


def test_field_an_interrupted_block_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replaced_export(tmp_path / "out") as folder:
        (folder / "train.py").write_text("")
        raise KeyboardInterrupt
    assert not (tmp_path / "out").exists()


def test_field_all_rows_are_exported_when_asked(tmp_path: Path) -> None:
    study = samples.study(samples.write_data(tmp_path), train_samples=20)
    exporter("torchrun").export(study, samples.trial(), tmp_path / "capped")
    exporter("torchrun", all_rows=True).export(study, samples.trial(), tmp_path / "all")
    rows = {
        n: (tmp_path / n / "data/train.jsonl").read_text().count("\n") for n in ("capped", "all")
    }
    assert rows["capped"] == 20 and rows["all"] > 60
    assert "--all-rows" in (tmp_path / "capped/README.md").read_text()
    assert "at most 20 of" in (tmp_path / "all/README.md").read_text()


def test_field_the_readme_loads_a_pruned_model_as_it_was_trained(tmp_path: Path) -> None:
    study = samples.study(samples.write_data(tmp_path))
    exporter("torchrun").export(study, samples.trial(pruning_ratio=0.5), tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    assert "from tuned.checkpoint import load_pruned" in text
    assert 'load_pruned(AutoModelForSequenceClassification, "trained")' in text
    assert "def load_pruned(" in (tmp_path / "out/tuned/checkpoint.py").read_text()
    exporter("torchrun").export(study, samples.trial(), tmp_path / "default")
    text = (tmp_path / "default/README.md").read_text()
    assert 'AutoModelForSequenceClassification.from_pretrained("trained")' in text


@pytest.mark.parametrize("name", ["trained", "ray", "checkpoints"])
def test_field_files_with_the_names_of_results_are_not_deleted(name: str, tmp_path: Path) -> None:
    export(tmp_path)
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=rf"results of a run \({name}\)"):
        export(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["metrics.json", "verify.log"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_field_a_folder_in_place_of_a_file_is_not_deleted(
    name: str, overwrite: bool, tmp_path: Path
) -> None:
    export(tmp_path)
    (tmp_path / name).mkdir()
    (tmp_path / name / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is a folder"):
        export(tmp_path, overwrite=overwrite)
    command = [sys.executable, "-c", "pass"]
    document = {"command": command, "measured": {"accuracy": {"value": 0.5, "ci95": None}}}
    (tmp_path / "strategy.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match="is a folder"):
        verify(tmp_path)
    assert (tmp_path / name / "notes.txt").read_text() == "mine"


def test_field_own_files_in_the_folder_of_the_model_are_not_deleted(tmp_path: Path) -> None:
    study = samples.study(samples.write_data(tmp_path))
    exporter("torchrun").export(study, samples.trial(), tmp_path / "out")
    own = tmp_path / "out/checkpoint/notes.txt"
    own.parent.mkdir()
    own.write_text("mine")
    with pytest.raises(UsageError, match=r"not from an export \(checkpoint/notes\.txt\)"):
        add_model(tmp_path / "out", object())  # type: ignore[arg-type]
    assert own.read_text() == "mine"


@pytest.mark.parametrize(
    "changes",
    [
        {"measured": 3},
        {"exported": {}},
        {"exported": {"deployed_relative_speed": {}}},
        {"exported": {"deployed_relative_speed": {"value": 1.0}, "deployed_accuracy": 3}},
        {"deployment": {"runtime": "none"}},
        {"deployment": {"runtime": "torch", "quantization": "int4"}},
        {"deployment": 3},
    ],
)
def test_field_a_damaged_export_of_a_model_is_named(
    changes: dict[str, object], tmp_path: Path
) -> None:
    exported = {"deployed_relative_speed": {"value": 1.0, "ci95": None}}
    document = {"measured": {}, "exported": exported, "left_out": {}, "deployment": {}, **changes}
    (tmp_path / "strategy.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"strategy\.json"):
        verify_artifact(tmp_path)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\r"])
def test_field_line_separators_are_text_of_rows(separator: str, tmp_path: Path) -> None:
    row = {"text": f"one{separator}two"}
    lines = json.dumps(row, ensure_ascii=False) + "\n"
    (tmp_path / "validation.jsonl").write_text(lines * 2, encoding="utf-8", newline="")
    assert validation_rows(tmp_path) == [row, row]


def test_field_names_of_labels_with_spaces_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    rows = [json.dumps({"text": f"text {n}", "label": n % 2}) + "\n" for n in range(40)]
    path.write_text("".join(rows), encoding="utf-8")
    study = samples.study(path, labels=(" good", "bad "))
    exporter("torchrun").export(study, samples.trial(), tmp_path / "out")
    assert set(open_folder(tmp_path / "out").split("train").labels.tolist()) == {0, 1}
