"""The study files, and parts of some, that documents show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from autotune import plugins
from autotune.components import EXECUTORS, SAMPLERS, STOPPING_RULES
from autotune.domain.metrics import METRICS
from autotune.domain.tasks import TASK_KINDS
from autotune.spec import load
from autotune.spec.validation import valid_keys
from tests.spec.hosts import CPU, GPU

ROOT = Path(__file__).parents[2]
YAML = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
TEXT = (ROOT / "docs" / "study-file.md").read_text(encoding="utf-8")
BLOCKS = YAML.findall(TEXT)


def test_the_whole_example_loads_everywhere_and_takes_the_other_blocks() -> None:
    whole, *parts = BLOCKS
    assert load(whole, host=CPU).study.name == "bert"
    for part in parts:
        assert load(whole + part, host=GPU)


def test_the_forms_of_a_lever_load() -> None:
    table = TEXT.split("| form | example |")[1].split("\n\n")[0]
    forms = re.findall(r"\| `(\w+: .*)` \|", table)
    assert len(forms) == 6
    space = "".join(f"  {form}\n" for form in forms if "compile" not in form)
    assert load(f"study: s\nobjectives: [loss]\nspace:\n{space}", host=CPU)
    device = "  device: [cpu, cuda:0]\n"
    compiled = next(f"  {form}\n" for form in forms if "compile" in form)
    assert load(f"study: s\nobjectives: [loss]\nspace:\n{device}{compiled}", host=GPU)


@pytest.mark.parametrize("page", ["README.md", "docs/tasks.md", "docs/cluster.md"])
def test_what_other_pages_show_loads(page: str) -> None:
    blocks = YAML.findall((ROOT / page).read_text(encoding="utf-8"))
    assert blocks
    for block in blocks:
        rest = {"study": "s", "objectives": ["f1"], "space": {"batch_size": [8, 16]}}
        missing = {key: value for key, value in rest.items() if f"\n{key}:" not in "\n" + block}
        assert load((yaml.safe_dump(missing) if missing else "") + block, host=CPU)


def test_every_task_kind_can_be_used() -> None:
    for kind in TASK_KINDS:
        text = f"study: s\nobjectives: [loss]\ntask: {{kind: {kind}}}\nspace: {{batch_size: [8]}}\n"
        assert load(text, host=CPU).study.task.kind == kind
        assert f"`{kind}`" in TEXT


def test_every_sampler_can_be_used() -> None:
    for kind in SAMPLERS:
        text = f"study: s\nobjectives: [f1]\nsampler: {kind}\nspace: {{batch_size: [8]}}\n"
        assert load(text, host=CPU).study.sampler.kind == kind
        assert f"`{kind}`" in TEXT


def test_every_executor_is_described() -> None:
    section = TEXT.split("### `executor`")[1].split("###")[0]
    for kind, executor in EXECUTORS.items():
        assert f"`{kind}`" in section
        assert all(setting in section for setting in executor.settings)


def test_every_early_stopping_rule_can_be_used() -> None:
    for rule in STOPPING_RULES:
        text = f"study: s\nobjectives: [f1]\nearly_stopping: {rule}\nspace: {{batch_size: [8]}}\n"
        assert load(text, host=CPU).study.stopping == rule
        assert f"`{rule}`" in TEXT


def test_every_section_is_described() -> None:
    headings = " ".join(re.findall(r"^### (.*)$", TEXT, re.MULTILINE))
    described = set(re.findall(r"`(\w+)`", headings)) | {"study"}
    assert described == set(valid_keys(()))
    task = TEXT.split("### `task`")[1].split("###")[0]
    assert all(f"`{key}`" in task for key in valid_keys(("task",)))


@pytest.mark.parametrize("name", [n for n in plugins.__all__ if n.startswith("register_")])
def test_every_registration_function_is_described(name: str) -> None:
    assert f"| `{name}` |" in TEXT


def test_the_plug_in_of_the_page_works(tmp_path: Path) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "mine.py").write_text(source, encoding="utf-8")
    (tmp_path / "s.yaml").write_text(
        "study: s\nplugins: [mine.py]\nobjectives: [mean_recall]\nspace: {batch_size: [8]}\n"
    )
    try:
        assert load(tmp_path / "s.yaml", host=CPU).study.objectives[0].metric == "mean_recall"
    finally:
        for name in ("mean_recall", "deployed_mean_recall"):
            METRICS.unregister(name)


def test_metrics_named_in_the_docs_exist() -> None:
    named = set(re.findall(r"\b\w+_(?:usd|wh|gib|ms|seconds|per_second)\b", TEXT))
    assert named - {"memory_gib", "checkpoint_gib", "takeover_seconds"} <= set(METRICS)


def test_the_example_is_one_that_yaml_1_1_reads_otherwise() -> None:
    """What PyYAML makes of 1e-5 is why the loader is its own."""
    assert isinstance(yaml.safe_load("1e-5"), str)
    assert isinstance(load(BLOCKS[0], host=CPU).study.spec["space"]["learning_rate"]["low"], float)
