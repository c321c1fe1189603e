"""Copies the modules that an exported script needs, so that it does not need autotune.

The script is a template that imports the modules of a trial. All are copied unchanged into the
package :data:`PACKAGE`, except for module names in imports, strings and docstrings. Plug-in files
are copied to :data:`EXTENSIONS` and loaded when the package is imported.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from autotune.errors import UsageError

PACKAGE = "tuned"
EXTENSIONS = f"{PACKAGE}/extensions"
TEMPLATES = "autotune.export.templates"
ROOT = Path(__file__).parents[1]

REFERENCE = re.compile(r"(autotune\.trial\.[a-z_.]+):[A-Za-z_]+")
"""Text that names an object of a trial, which is imported on first use."""

RECORDS = "autotune.levers."
"""Modules whose references are not followed: model set-up imports the effects of levers itself."""

NOTICE = '''"""The code of the trial, from autotune {version} (Apache-2.0).

``trial/effects`` has a file for each effect of a lever; the files here call them.
"""
'''

LOAD_EXTENSIONS = """
from importlib import import_module

for _name in {names}:
    import_module(f"{package}.{{_name}}")
"""


def script(template: str, version: str, plugins: Sequence[str] = ()) -> Mapping[str, str]:
    """``train.py`` from ``template``, every module that it imports, and the Python files among
    ``plugins``, as text by path in the folder.

    Raises :class:`~autotune.errors.UsageError` if two plug-in files have the same name.
    """
    source = _source(f"{TEMPLATES}.{template}")
    return programs({"train.py": source}, version, plugins)


def programs(
    sources: Mapping[str, str], version: str, plugins: Sequence[str] = ()
) -> Mapping[str, str]:
    """Programs and what they import, as :func:`script` returns them. ``sources`` are their texts,
    in the module names of autotune, by file name."""
    extensions = _extensions(plugins)
    files = {name: rename_modules(text) for name, text in sources.items()}
    for module in sorted(required_modules(*sources.values(), *extensions.values())):
        files[_path(module)] = rename_modules(_source(module))
    files |= {f"{EXTENSIONS}/{name}.py": rename_modules(text) for name, text in extensions.items()}
    for folder in {Path(name).parent for name in files} - {Path()}:
        files.setdefault(f"{folder}/__init__.py", "")
    files[f"{PACKAGE}/__init__.py"] = NOTICE.format(version=version) + _loader(extensions)
    return files


def vendored_path(module: str) -> str | None:
    """The path in an exported folder of a module (a file) or of a package (a folder).

    ``None`` for code that is not copied: installed packages other than autotune.
    """
    if _is_autotune(module):
        return _path(module).removesuffix("/__init__.py")
    file = getattr(sys.modules.get(module), "__file__", None)
    is_plugin_file = file is not None and "." not in module
    return f"{EXTENSIONS}/{_extension_name(Path(file))}.py" if file and is_plugin_file else None


def _extensions(plugins: Sequence[str]) -> dict[str, str]:
    """The text of each plug-in file, by its name in the exported folder."""
    paths = [Path(name) for name in plugins if name.endswith(".py")]
    texts = {_extension_name(path): path.read_text(encoding="utf-8") for path in paths}
    if len(texts) < len(paths):
        names = ", ".join(map(str, paths))
        raise UsageError(f"plug-in files have the same name: {names}", hint="rename one of them")
    return texts


def _extension_name(path: Path) -> str:
    return re.sub(r"\W", "_", path.stem)


def _loader(extensions: Collection[str]) -> str:
    if not extensions:
        return ""
    package = EXTENSIONS.replace("/", ".")
    return LOAD_EXTENSIONS.format(names=tuple(extensions), package=package)


def required_modules(*sources: str) -> set[str]:
    """Names of the modules of autotune that ``sources`` import, directly or not."""
    modules: set[str] = set()
    queue = [name for source in sources for name in _imports(source)]
    while queue:
        name = queue.pop()
        if name not in modules:
            modules.add(name)
            queue.extend(_imports(_source(name), follow=not name.startswith(RECORDS)))
    return modules


def rename_modules(source: str) -> str:
    """``source`` with the module names of an exported folder."""
    source = re.sub(rf"\b{re.escape(TEMPLATES)}\b", PACKAGE, source)
    source = re.sub(
        r"^(\s*)from autotune import ", rf"\1from {PACKAGE} import ", source, flags=re.M
    )
    return re.sub(r"\bautotune\.(?=[a-z])", f"{PACKAGE}.", source)


def _imports(source: str, *, follow: bool = True) -> Iterator[str]:
    """Modules of autotune that ``source`` imports, and those that it references as text if it
    is to ``follow`` references."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and _is_autotune(node.module):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in names if _file(name).exists()]
            yield from modules
            if len(modules) < len(names):
                yield node.module
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("autotune.")]
            yield from (name for name in names if _file(name).exists())
        elif follow and isinstance(node, ast.Constant) and isinstance(node.value, str):
            reference = REFERENCE.fullmatch(node.value)
            if reference and _file(reference[1]).exists():
                yield reference[1]


def _is_autotune(module: str) -> bool:
    return module.partition(".")[0] == "autotune"


def _file(module: str) -> Path:
    """The file of ``module``; it exists only for modules and packages."""
    path = ROOT.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _source(module: str) -> str:
    return _file(module).read_text(encoding="utf-8")


def _path(module: str) -> str:
    name = rename_modules(f"{module}.x").removesuffix(".x").replace(".", "/")
    return f"{name}/__init__.py" if _file(module).name == "__init__.py" else f"{name}.py"
