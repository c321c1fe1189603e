"""Package layers, forbidden imports and names, and size limits of ``docs/architecture.md``."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from autotune.components import EXECUTORS, EXPORT_FORMATS, SAMPLERS, STOPPING_RULES
from autotune.domain.registry import import_object
from autotune.domain.tasks import TASK_KINDS
from tests.conftest import MULTI_PROCESS_TESTS, SHARED_FIXTURE_FOLDERS

ROOT = Path(__file__).parents[1]

LAYERS: tuple[frozenset[str], ...] = tuple(map(frozenset, (
    {"errors", "version"},
    {"domain"},
    {"ports", "components", "hardware", "levers", "measure", "locks"},
    {"analysis", "deployment", "plugins", "store"},
    {"report", "spec", "tracking", "trial"},
    {"execution", "export", "tuner"},
    {"importers", "client"},
    {"cli"},
    {"api", "service"},
    {"__main__", "__init__"},
)))  # fmt: skip
"""The packages and top-level modules of ``autotune``, lowest layer first. Each may import from the
layers below it and from nothing else."""

FOREIGN_PACKAGES = {
    "optuna": {"tuner", "analysis", "export"},
    "ray": {"execution", "export"},
    "streamlit": {"dashboard"},
}
"""Packages that may import a library. ``analysis`` uses Optuna's importances; ``export`` writes
Optuna studies and a script for Ray Train."""

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60


def _split(text: str) -> list[str]:
    return text.split()


FORMER_MODULES = _split("""
    autotune.constraints autotune.expression autotune.metrics autotune.space autotune.domain.anatomy
    autotune.domain.evidence autotune.tuner.refereeing autotune.tuner.solitude
    autotune.tuner.stopping autotune.tuner.sharing autotune.tuner.drivers autotune.tuner.folder
    autotune.tuner.plateau autotune.tuner.confirming autotune.tuner.factored
    autotune.tuner.sampler autotune.execution.seats autotune.execution.running
    autotune.execution.calling autotune.execution.lean autotune.execution.landscape
    autotune.execution.replayed autotune.execution.ray.desk autotune.execution.ray.parcel
    autotune.execution.ray.team autotune.execution.ray.wire autotune.execution.ray.shape
    autotune.trial.crew autotune.trial.course autotune.trial.finetune autotune.trial.probing
    autotune.trial.spreading autotune.trial.placement autotune.trial.parallel autotune.trial.apply
    autotune.spec.ending autotune.spec.shape autotune.spec.dimensions autotune.spec.measurable
    autotune.spec.prices autotune.spec.spaces autotune.spec.constraints autotune.store.repository
    autotune.store.journal autotune.store.journaled autotune.analysis.course
    autotune.analysis.repeats autotune.analysis.thinning autotune.analysis.filtering
    autotune.export.materials autotune.export.reading autotune.export.importing
    autotune.export.templates.ground autotune.export.templates.whole
    autotune.export.templates.judging autotune.export.templates.building autotune.cli.hiring
    autotune.cli.searching autotune.cli.actions autotune.cli.reading dashboard.entrance
    dashboard.feed
""")
"""Modules that were merged or renamed. Their names must not be used again for something else."""

FORMER_WORDS = frozenset(
    _split("""
        anatomy carved claims course crew desk doubt dressed foretell foretold ground hired hiring
        honest judged judging parcel referee refereeing rewarded roomiest seat seats solitude
        unheard whole
    """)
)
"""Words of a private vocabulary that names must not contain: a name is a term of the field."""

FORMER_NAMES = frozenset(
    _split("alone beside by found given known of seen told together wanted whole without")
)
"""Participles, prepositions and pronouns that must not be a whole name."""

ENUM_NAMES = frozenset({"origin", "failure", "phase"})
"""Names of values of ``TrialOrigin``, ``FailureReason`` and ``Phase``."""


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


CODE = python_files("autotune", "dashboard")


def short_path(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def syntax_tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_names(path: Path) -> Iterator[str]:
    """Full names of everything that a module imports, in functions too."""
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(path: Path, modules: Collection[str]) -> set[str]:
    """The ``modules`` that ``path`` imports. ``from package import module`` counts as an import of
    the module only."""
    imported: set[str] = set()
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            imported |= {name for name in names if name in modules}
            if node.module in modules and not all(name in modules for name in names):
                imported.add(node.module)
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names if alias.name in modules}
    return imported


@cache
def module_graph() -> Mapping[str, frozenset[str]]:
    """The modules of ``autotune`` that each of its modules imports."""
    paths = {dotted_name(path): path for path in python_files("autotune")}
    return {n: frozenset(imported_modules(p, paths.keys())) for n, p in paths.items()}


def package_graph(depth: int) -> dict[str, set[str]]:
    """The module graph with modules replaced by the first ``depth`` parts of their names. Modules
    with fewer parts are left out, as they are the package itself."""
    graph: dict[str, set[str]] = {}
    for module, imports in module_graph().items():
        package = module.split(".")[:depth]
        if len(package) == depth:
            targets = (name.split(".")[:depth] for name in imports)
            names = {".".join(target) for target in targets if len(target) == depth}
            graph.setdefault(".".join(package), set()).update(names - {".".join(package)})
    return graph


def find_cycle(graph: Mapping[str, Collection[str]]) -> list[str]:
    """The nodes of a cycle; empty if there is none."""
    done: set[str] = set()

    def visit(node: str, trail: list[str]) -> list[str]:
        if node in trail:
            return [*trail[trail.index(node) :], node]
        if node in done:
            return []
        for target in sorted(graph.get(node, ())):
            if cycle := visit(target, [*trail, node]):
                return cycle
        done.add(node)
        return []

    return next((cycle for node in sorted(graph) if (cycle := visit(node, []))), [])


def package(path: Path) -> str:
    """The package of ``autotune``, or ``dashboard``, that a file belongs to."""
    parts = path.relative_to(ROOT).parts
    return parts[0] if parts[0] != "autotune" else Path(parts[1]).stem


def test_every_package_has_one_layer() -> None:
    packages = {package(path) for path in python_files("autotune")}
    layered = [name for layer in LAYERS for name in layer]
    assert len(layered) == len(set(layered))
    assert packages == set(layered)


@pytest.mark.parametrize("path", python_files("autotune"), ids=short_path)
def test_packages_import_only_from_lower_layers(path: Path) -> None:
    layer = {name: level for level, names in enumerate(LAYERS) for name in names}
    source = package(path)
    for name in imported_names(path):
        parts = name.split(".")
        if parts[0] != "autotune" or len(parts) < 2 or parts[1] not in layer:
            continue
        if parts[1] != source:
            assert layer[parts[1]] < layer[source], f"{source} must not import {name}"


def test_no_two_packages_import_each_other() -> None:
    cycle = find_cycle(package_graph(2))
    assert not cycle, " -> ".join(cycle)


@pytest.mark.parametrize("parent", ["tuner", "execution", "trial"])
def test_no_two_subpackages_import_each_other(parent: str) -> None:
    folders = {f"autotune.{parent}.{p.parent.name}"
               for p in (ROOT / "autotune" / parent).glob("*/__init__.py")}  # fmt: skip
    assert folders
    graph = package_graph(3)
    cycle = find_cycle({name: graph.get(name, set()) & folders for name in folders})
    assert not cycle, " -> ".join(cycle)


def test_there_is_no_import_cycle() -> None:
    cycle = find_cycle(module_graph())
    assert not cycle, " -> ".join(cycle)


def test_cycles_are_found() -> None:
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}}) == []


@pytest.mark.parametrize(("library", "packages"), FOREIGN_PACKAGES.items())
def test_libraries_are_imported_in_few_packages(library: str, packages: set[str]) -> None:
    for path in CODE:
        if any(name.split(".")[0] == library for name in imported_names(path)):
            assert package(path) in packages, f"{path} imports {library}"


def test_domain_imports_only_the_standard_library() -> None:
    for name in ("domain", "errors", "ports", "components"):
        paths = [ROOT / "autotune" / f"{name}.py", *python_files(f"autotune/{name}")]
        for imported in (i for path in paths if path.is_file() for i in imported_names(path)):
            top = imported.split(".")[0]
            assert top == "autotune" or top in sys.stdlib_module_names


@pytest.mark.parametrize("library", ["torch", "ray", "streamlit", "transformers", "optuna"])
@pytest.mark.parametrize("module", ["autotune.cli", "autotune.plugins"])
def test_the_command_line_starts_without(module: str, library: str) -> None:
    code = f"import sys, {module}; sys.exit({library!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


REFERENCES = [
    *(sampler.factory for sampler in SAMPLERS.values()),
    *(rule.should_stop for rule in STOPPING_RULES.values()),
    *(executor.factory for executor in EXECUTORS.values()),
    *(export_format.exporter for export_format in EXPORT_FORMATS.values()),
    *(kind.implementation for kind in TASK_KINDS.values()),
    *(kind.loss for kind in TASK_KINDS.values()),
]


@pytest.mark.parametrize("reference", [r for r in REFERENCES if r is not None])
def test_references_in_registries_exist(reference: str) -> None:
    assert import_object(reference) is not None


def test_alembic_folder_does_not_shadow_the_library() -> None:
    assert not list((ROOT / "alembic").rglob("__init__.py"))


@pytest.mark.parametrize("module", FORMER_MODULES)
def test_former_modules_do_not_come_back(module: str) -> None:
    path = ROOT.joinpath(*module.split("."))
    assert not path.with_suffix(".py").exists()
    assert not path.joinpath("__init__.py").exists()


def defined_names(path: Path) -> Iterator[tuple[str, int]]:
    """The names of modules, classes, functions, arguments and variables that a file defines."""
    yield path.stem, 1
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr, node.lineno


def words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


@pytest.mark.parametrize("path", CODE, ids=short_path)
def test_names_are_terms_of_the_field(path: Path) -> None:
    former = {
        f"{short_path(path)}:{line}: {name}"
        for name, line in defined_names(path)
        if name in FORMER_NAMES or words(name) & FORMER_WORDS
    }
    assert not former, "\n".join(sorted(former))


def is_enum_value(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in ENUM_NAMES


def has_string(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(has_string(element) for element in node.elts)
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def string_comparisons(tree: ast.AST) -> Iterator[int]:
    """Lines that compare an origin, failure or phase with a string literal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            if any(map(is_enum_value, operands)) and any(map(has_string, operands)):
                yield node.lineno
        elif isinstance(node, ast.Match) and is_enum_value(node.subject):
            patterns = (inner for case in node.cases for inner in ast.walk(case.pattern))
            if any(isinstance(p, ast.MatchValue) and has_string(p.value) for p in patterns):
                yield node.lineno


@pytest.mark.parametrize("path", CODE, ids=short_path)
def test_enums_are_not_compared_with_strings(path: Path) -> None:
    lines = list(string_comparisons(syntax_tree(path)))
    assert not lines, f"{short_path(path)}: lines {lines}"


@pytest.mark.parametrize(
    "code",
    [
        "trial.origin == 'confirm'",
        "'timeout' != failure",
        "trial.origin in ('rerun', 'sampler')",
        "match job.phase:\n    case 'train' | 'profile': pass",
    ],
)
def test_string_comparisons_are_found(code: str) -> None:
    assert list(string_comparisons(ast.parse(code)))
    assert not list(string_comparisons(ast.parse("trial.origin is TrialOrigin.SAMPLED")))


def test_modules_are_short() -> None:
    lengths = {short_path(p): len(p.read_text(encoding="utf-8").splitlines()) for p in CODE}
    long = {path: lines for path, lines in lengths.items() if lines > MAX_MODULE_LINES}
    assert not long, f"modules of more than {MAX_MODULE_LINES} lines: {long}"


def test_functions_are_short() -> None:
    long = {
        f"{short_path(path)}:{node.name}": lines
        for path in python_files("autotune", "dashboard", "benchmarks")
        for node in ast.walk(syntax_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    }
    assert not long, f"functions of more than {MAX_FUNCTION_LINES} lines: {long}"


def test_paths_that_distribute_the_tests_exist() -> None:
    assert all((ROOT / path).exists() for path in (*MULTI_PROCESS_TESTS, *SHARED_FIXTURE_FOLDERS))
