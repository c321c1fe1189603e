"""Every mistake that a study file can have, and the line and column where it is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.errors import Mistake, NotFoundError, SpecError, UsageError
from autotune.spec import load
from tests.spec.hosts import CPU, GPU

GOOD = """\
study: s
objectives: [accuracy]
space:
  batch_size: [8, 16]
"""


def mistakes(text: str, *overrides: str) -> list[Mistake]:
    with pytest.raises(SpecError) as caught:
        load(text, host=CPU, overrides=overrides)
    return list(caught.value.mistakes)


def test_a_valid_file_has_no_mistakes() -> None:
    assert load(GOOD, host=CPU).study.name == "s"


SECTIONS = [
    ("stdy: t", 5, 1, "unknown key 'stdy' in a study file; did you mean study?"),
    ("task: {epoch: 2}", 5, 8, "unknown key 'epoch' in task; did you mean epochs?"),
    ("task: {columns: {txt: a}}", 5, 18, "did you mean text?"),
    ("task: {epochs: soon}", 5, 16, "task.epochs: must be a number, not 'soon'"),
    ("task: {epochs: -1}", 5, 16, "must be greater than 0"),
    ("task: {epochs: .inf}", 5, 16, "must be a number, not '.inf'"),
    ("task: {epochs: 1e999}", 5, 16, "a finite number"),
    ("task: {seed: true}", 5, 14, "task.seed: must be a whole number, not true"),
    ("task: {epochs: 1, steps: 5}", 5, 19, "give one"),
    ("task: {kind: translation}", 5, 14, "valid: text-classification"),
    ("task: {kind: token-classification, columns: {text_pair: b}}", 5, 46, "no second text"),
    ("task: {kind: token-classification}\nconstraints: [mcc > .5]", 6, 15, "not defined for token"),
    ("task: {dataset: {train: a, tset: b}}", 5, 28, "did you mean test?"),
    ("task: {dataset: {test: b}}", 5, 8, "'train' is missing"),
    ("task: [1]", 5, 7, "task: must be a mapping, not a list"),
    ("constraints: accuracy > 1", 5, 14, "must be a list"),
    ("constraints: [acuracy >= 0.8]", 5, 15, "unknown metric 'acuracy'; did you mean accuracy?"),
    ("constraints: ['accuracy => 0.8']", 5, 25, "expected >=, <=, > or <"),
    ("constraints: [accuracy >= baselin - 0.1]", 5, 27, "expected a number, 'baseline'"),
    ("constraints: [acc >= baseline]", 5, 15, "unknown metric 'acc'"),
    ("constraints: [accuracy >= 80]", 5, 15, "for percent write 0.8"),
    ("constraints: [accuracy >= .9, accuracy < .5]", 5, 31, "contradicts 'accuracy >= 0.9'"),
    ("constraints: [loss < 1, loss < 1]", 5, 25, "repeats 'loss < 1'"),
    ("constraints: [energy_wh <= 3]", 5, 15, "energy_wh cannot be measured here"),
    ("constraints: [device_memory_gib <= 3]", 5, 15, "CUDA devices only"),
    ("budget: {trials: 0}", 5, 18, "budget.trials: must be at least 1, not 0"),
    ("budget: {minutes: -5}", 5, 19, "must be greater than 0.0, not -5"),
    ("budget: {hours: 5}", 5, 10, "valid: minutes, trials, usd"),
    ("confirm: {top: 0}", 5, 16, "confirm.top: must be at least 1, not 0"),
    ("confirm: {seeds: 2}", 5, 1, "'top' is missing"),
    ("stop_when: bored", 5, 12, "expected 'no hypervolume gain in N trials'"),
    ("stop_when: no hypervolume gain in 0 trials", 5, 12, "1 or more, found"),
    ("warm_start: s", 5, 13, "a study cannot begin with its own trials"),
    ("limits: {memory_gib: 8GiB}", 5, 22, "must be a number, not '8GiB'"),
    ("prices: {gpus: {H100: -1}}", 5, 23, "at least 0"),
    ("executor: {kind: slurm}", 5, 18, "valid: local, ray"),
    ("executor: rya", 5, 11, "did you mean ray?"),
    ("executor: {address: x}", 5, 12, "the local executor has none"),
    ("executor: {workers: 0}", 5, 21, "at least 1"),
    ("sampler: {kind: tpee}", 5, 17, "did you mean tpe?"),
    ("sampler: {kind: tpe, seed: -1}", 5, 28, "at least 0"),
    ("storage: autotune.db", 5, 10, "sqlite:///autotune.db"),
    ("rules: [batch > 1]", 5, 9, "did you mean batch_size?"),
    ("rules: [{exclude: batch_size >, because: x}]", 5, 31, "expected a name or a value"),
    ("rules: [{because: x}]", 5, 9, "'exclude' is missing"),
    ("rules: [{exclude: batch_size > 1}]", 5, 19, "excludes every combination"),
    ("rules: ['precision == bf17']", 5, 23, "'bf17' is no lever, and no setting of precision"),
    ("start_with: [{batch: 8}]", 5, 15, "unknown lever 'batch'; did you mean batch_size?"),
    ("start_with: [{batch_size: 0}]", 5, 27, "valid: whole number from 1 to 65536"),
    ("start_with: [{device: cuda:0}]", 5, 23, "no device cuda:0 on this host"),
    ("start_with: [{batch_size: 8, micro_batch_size: 3}]", 5, 14, "the rules exclude it"),
    ("start_with: [{pruning_method: layers}]", 5, 15, "matters only when pruning_ratio > 0"),
    ("start_with: [{batch_size: 8}, {batch_size: 8.0}]", 5, 31, "the same strategy as entry 1"),
    ("task: {steps: 9}\nstart_with: [{epochs: 3}]", 6, 15, "task.steps fixes how long to train"),
    ("baseline: {batch: 8}", 5, 12, "unknown lever 'batch'; did you mean batch_size?"),
    ("baseline: {batch_size: 0}", 5, 24, "valid: whole number from 1 to 65536"),
    ("baseline: {device: cuda:0}", 5, 20, "no device cuda:0 on this host"),
    ("baseline: {batch_size: 8, micro_batch_size: 3}", 5, 1, "it cannot run: "),
    ("baseline: {pruning_method: layers}", 5, 12, "matters only when pruning_ratio > 0"),
    ("baseline: {epochs: 3}", 5, 12, "task.epochs is how long the baseline trains"),
    ("baseline: [8]", 5, 11, "must be a mapping"),
    ("goal: {maximize: sped}", 5, 18, "unknown metric 'sped'"),
    ("goal: {maximize: accuracy, minimize: loss}", 5, 1, "a goal has one metric"),
    ("goal: {require: [accuracy >= 0.8]}", 5, 1, "a goal has one metric"),
    ("goal: {require: [acuracy >= 0.8], minimize: loss}", 5, 18, "unknown metric 'acuracy'"),
    ("goal: {minimize: energy_wh}", 5, 18, "energy_wh cannot be measured here"),
    ("goal: {minimise: loss}", 5, 8, "unknown key 'minimise' in goal; did you mean minimize?"),
    ("task: {train_samples: auto}", 5, 23, "auto is as many as fit in budget.minutes"),
    ("task: {train_samples: many}", 5, 23, "must be a whole number, not 'many'"),
    (
        "budget: {minutes: 9}\ntask: {train_samples: auto, steps: 9}",
        6,
        23,
        "task.steps fixes how long to train",
    ),
    ("task: {evaluate_every: often}", 5, 24, "must be a number of steps, or a part of the data"),
    ("task: {evaluate_every: 1.5}", 5, 24, "such as '0.25 epochs', not 1.5"),
    ("task: {evaluate_every: 0 epochs}", 5, 24, "must be a number of steps"),
    ("task: {evaluate_every: 0}", 5, 24, "must be a number of steps"),
    ("task: {evaluate_every: true}", 5, 24, "must be a number of steps"),
    ("task: {steps: 9, evaluate_every: 9}", 5, 34, "9 steps are the whole training run of 9"),
    ("task: {best_metric: f1}", 5, 8, "evaluate_every, which is not set"),
    (
        "task: {evaluate_every: 9, best_metric: acuracy}",
        5,
        40,
        "'acuracy' is no score of text-classification; did you mean accuracy?",
    ),
    ("start_with: [8]", 5, 14, "must be a mapping, not 8"),
    ("sampler: {priors: {batch: {8: 1}}}", 5, 20, "unknown lever 'batch'"),
    ("sampler: {priors: {allocator: {tuned: 1}}}", 5, 20, "has no influence on accuracy"),
    ("sampler: {priors: {precision: {bf17: 1}}}", 5, 31, "did you mean bf16?"),
    ("sampler: {priors: {freeze_layers: {2: 300}}}", 5, 35, "300 points; write"),
]


@pytest.mark.parametrize(("section", "line", "column", "message"), SECTIONS)
def test_a_mistake_in_a_section(section: str, line: int, column: int, message: str) -> None:
    errors = mistakes(GOOD + section + "\n")
    assert [(m.line, m.column) for m in errors] == [(line, column)], errors
    assert message in errors[0].message


LEVERS = [
    ("batchsize: 8", 4, 3, "unknown lever 'batchsize'; did you mean batch_size?"),
    ("batch_size:", 4, 14, "space.batch_size: is empty"),
    ("batch_size: []", 4, 15, "empty list"),
    ("batch_size: [8, 16, 8.0]", 4, 23, "8 is given twice"),
    ("batch_size: [8, big]", 4, 19, "cannot be 'big'"),
    ("batch_size: [8, '16']", 4, 19, "cannot be '16'"),
    ("batch_size: [8, 8.5]", 4, 19, "cannot be 8.5"),
    ("batch_size: [true]", 4, 16, "cannot be true"),
    ("batch_size: [[8]]", 4, 16, "cannot be a list"),
    ("batch_size: {low: 8}", 4, 15, "needs both low and high"),
    ("batch_size: {lwo: 8, high: 9}", 4, 16, "did you mean low?"),
    ("batch_size: {low: 16, high: 8}", 4, 21, "the range is empty, low 16 is above high"),
    ("batch_size: {low: 8, high: 16, step: 0}", 4, 40, "step must be above 0"),
    ("batch_size: {low: 8, high: 16, step: 2.5}", 4, 40, "step must be a whole number"),
    ("batch_size: {low: 8, high: 16, step: 9}", 4, 40, "wider than the range"),
    ("batch_size: {low: 8, high: 1e9}", 4, 30, "valid: whole number from 1 to 65536"),
    ("batch_size: {values: [8], low: 1}", 4, 34, "both values and low"),
    ("batch_size: {when: device == cpu}", 4, 15, "nothing to search"),
    ("dropout: {low: .1, high: .5, step: .1, log: true}", 4, 38, "exclude each other"),
    ("dropout: {low: -0.1, high: 0.5}", 4, 18, "valid: number from 0 to 0.9 or model"),
    ("dropout: {low: 0, high: 0.5, log: true}", 4, 18, "starts above 0"),
    ("padding: {low: 0, high: 1}", 4, 12, "padding has no range"),
    ("padding: [fixed, dynamc]", 4, 20, "did you mean dynamic? valid: fixed, dynamic, bucketed"),
    ("compile: [on]", 4, 13, "compile cannot be 'on'; valid: false, true"),
    ("device: cuda", 4, 11, "valid: such as cpu, cuda:0, mps"),
    ("device: [cuda:0]", 4, 12, "this host cannot run device 'cuda:0': no device cuda:0"),
    ("threads: [4, 8]", 4, 13, "none of the settings of threads: 4 threads on 2 cores"),
    ("pruning_method: auto", 4, 19, "never matters: no strategy of this space has"),
]


@pytest.mark.parametrize(("lever", "line", "column", "message"), LEVERS)
def test_a_mistake_in_a_lever(lever: str, line: int, column: int, message: str) -> None:
    errors = mistakes(f"study: s\nobjectives: [accuracy]\nspace:\n  {lever}\n")
    assert [(m.line, m.column) for m in errors] == [(line, column)], errors
    assert message in errors[0].message


CONDITIONS = [
    ("batch_size > 64", 5, 36, "never matters"),
    ("padding == fixed", 5, 36, "padding cannot depend on itself"),
    ("dropout == model", 5, 36, "padding cannot depend on dropout"),
    ("batch_sze > 8", 5, 36, "did you mean batch_size?"),
    ("batch_size >> 8", 5, 48, "expected a name or a value"),
    ("device == cud", 5, 46, "did you mean cuda?"),
]


@pytest.mark.parametrize(("when", "line", "column", "message"), CONDITIONS)
def test_a_mistake_in_a_condition(when: str, line: int, column: int, message: str) -> None:
    errors = mistakes(f"{GOOD}  padding: {{values: [fixed], when: {when}}}\n")
    assert [(m.line, m.column) for m in errors] == [(line, column)], errors
    assert message in errors[0].message


SYNTAX = [
    ("study: s\nstudy: t\n" + GOOD[9:], 2, 1, "'study' is given twice (first at line 1)"),
    ("study: s\n\tx: 1\n", 2, 1, "a tab"),
    ("study: [s\n", 2, 1, "not valid YAML"),
    ("a: &x 1\nstudy: *x\n", 2, 8, "write the value out"),
    ("study: !!python/object:os.system s\n" + GOOD[9:], 1, 8, "tags such as"),
    ("study: " + "[" * 60 + "\n", 1, 32, "nested too deep"),
    ("study: s\x07\n", 1, 9, "not allowed in YAML"),
    ("- a\n- b\n", 1, 1, "a study file is a mapping of sections, not a list"),
    ("# only a comment\n", 1, 1, "not empty"),
    ("{[a]: 1, study: s}\n", 1, 2, "a key must be a word"),
    ("study: a\n---\nstudy: b\n", 2, 1, "not valid YAML"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), SYNTAX)
def test_a_syntax_error(text: str, line: int, column: int, message: str) -> None:
    errors = mistakes(text)
    messages = [m.message for m in errors if (m.line, m.column) == (line, column)]
    assert any(message in text for text in messages), errors


def test_all_mistakes_are_reported_in_file_order() -> None:
    text = """\
study: bad name
task: {epoch: 1, epochs: x}
objectives:
  - {direction: maximize}
  - {metric: acc}
  - {metric: loss, direction: up}
  - loss
constraints: [speed > 1, accuracy >= 0.5]
space:
  batch_size: [8, x]
  padding: sometimes
  pruning_method: {values: auto, when: pruning_rato > 0}
budget: {trials: -1}
"""
    errors = mistakes(text)
    assert [(m.line, m.column) for m in errors] == [
        (1, 8),
        (2, 8),
        (2, 26),
        (4, 5),
        (5, 14),
        (6, 31),
        (8, 15),
        (10, 19),
        (11, 12),
        (12, 40),
        (13, 18),
    ]
    assert str(errors[0]).startswith("<text>:1:8: study: 'bad name' is not a name")


def test_missing_sections() -> None:
    errors = mistakes("task: {epochs: 1}\n")
    assert [m.message for m in errors] == [
        "'study' is missing",
        "'objectives' is missing",
        "'space' is missing",
    ]


def test_a_duplicate_objective() -> None:
    errors = mistakes(GOOD.replace("[accuracy]", "[accuracy, accuracy]"))
    assert [(m.line, m.column) for m in errors] == [(2, 24)]


def test_rules_that_exclude_everything_in_combination() -> None:
    text = GOOD.replace("batch_size: [8, 16]", "precision: [tf32, fp16]\n  device: cpu")
    with pytest.raises(SpecError, match=r"rules exclude every combination.*tf32, and fp16"):
        load(text, host=GPU)


def test_overrides_are_checked_and_located() -> None:
    errors = mistakes(
        GOOD, "task.epochs=x", "budget.trils=3", "space.batch_size=[8, 0]", "nonsense"
    )
    assert [(m.file, m.line, m.column) for m in errors] == [
        ("--set", 1, 13),
        ("--set", 2, 1),
        ("--set", 3, 22),
        ("--set", 4, 1),
    ]
    assert "did you mean trials?" in errors[1].message


def test_an_override_of_a_missing_item() -> None:
    (error,) = mistakes(GOOD, "objectives.3.metric=loss")
    assert error.message == "objectives has no item 3"


def test_mistakes_name_their_file(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(GOOD + "budgt: 1\n")
    with pytest.raises(SpecError) as caught:
        load(path, host=CPU)
    assert str(caught.value).startswith(f"{path}:5:1: unknown key 'budgt'")


def test_a_missing_file_suggests_a_similar_name(tmp_path: Path) -> None:
    (tmp_path / "bert.yaml").write_text(GOOD)
    with pytest.raises(NotFoundError) as caught:
        load(tmp_path / "brt.yaml", host=CPU)
    assert caught.value.hint is not None and "did you mean bert.yaml?" in caught.value.hint


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"study: \xff\n")
    with pytest.raises(UsageError, match="not UTF-8"):
        load(path, host=CPU)
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path, host=CPU)
