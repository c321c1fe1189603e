"""The sections ``space`` and ``rules`` as a :class:`~autotune.domain.SearchSpace` on a host."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from autotune.domain import (
    Categorical,
    Dimension,
    ForbiddenClause,
    Host,
    Range,
    SearchSpace,
    Value,
    expression,
)
from autotune.domain.text import suggest
from autotune.errors import ExpressionError
from autotune.levers import LEVERS, defaults, forbidden_clauses
from autotune.spec.conditions import can_hold, is_any_allowed, unknown_names
from autotune.spec.document import Document, Path
from autotune.spec.domains import ResolvedDomain, SkippedSetting, resolve_lever
from autotune.spec.model_type import model_type_of, restrict_to_model, restrict_to_models
from autotune.spec.models import StudyFile
from autotune.spec.task_settings import compared_setting


def resolve_space(
    file: StudyFile, document: Document, host: Host, baseline: Mapping[str, Value]
) -> tuple[SearchSpace, tuple[SkippedSetting, ...]]:
    """The search space of ``file`` on ``host``, and the settings that this host cannot run.

    Dimensions are in the order of the lever registry, whatever the order in the file. A lever set
    to one value is a dimension of one value: the default strategy stays that of the Trainer, or
    that of the user, whose settings are in ``baseline``.
    """
    epochs = 1.0 if file.task.epochs is None else file.task.epochs
    default = {**defaults(host, epochs), **baseline}
    domains = _resolve_levers(file, document, host)
    conditions = {name: _condition(name, file, document) for name in domains}
    invalid = file.space.keys() - domains.keys()
    written = _space(((n, d.written) for n, d in domains.items()), conditions, default)
    available = _space(((n, d.available) for n, d in domains.items()), conditions, default)
    skipped = [setting for domain in domains.values() for setting in domain.skipped]
    inactive = _inactive_levers(written, available, invalid, document)
    skipped += [SkippedSetting(name, "all settings", why) for name, why in inactive.items()]
    dimensions = tuple(d for d in available.dimensions if d.lever not in inactive)
    rules = (*forbidden_clauses(host), *_rules(file, document))
    space = restrict_to_models(SearchSpace(dimensions, default, rules), file.task.model)
    if not invalid and not document.mistakes:
        _check_rules(file, space, document)
    return space, tuple(skipped)


def parse_condition(text: str, path: Path, document: Document) -> expression.Expression | None:
    """A condition over levers; ``None`` after recording its mistakes."""
    try:
        condition = expression.parse(text, LEVERS.keys())
    except ExpressionError as error:
        hint = f"; {error.hint}" if error.hint else ""
        document.add_error(path, f"{error.message}{hint}", offset=error.column)
        return None
    unknown = unknown_names(text, condition.names)
    for column, word, match in unknown:
        names = " or ".join(sorted(condition.names))
        hint = f"did you mean {match}?" if match else "names with other signs need quotes"
        message = f"'{word}' is no lever, and no setting of {names}; {hint}"
        document.add_error(path, message, offset=column)
    return None if unknown else condition


def _parse_condition(
    text: str, path: Path, file: StudyFile, document: Document
) -> expression.Expression | None:
    """:func:`parse_condition` of a study file, in which ``task`` stands for the task's settings."""
    condition = parse_condition(text, path, document)
    lever = None if condition is None else compared_setting(text, file.task)
    if lever is None:
        return condition
    message = f"write 'task' for the {lever} of the task, and list others: {lever} in [task, ...]"
    document.add_error(path, message)
    return None


def _resolve_levers(file: StudyFile, document: Document, host: Host) -> dict[str, ResolvedDomain]:
    for name in file.space.keys() - LEVERS.keys():
        message = f"unknown lever '{name}'; {suggest(name, LEVERS)}"
        document.add_error(("space", name), message, key=True)
    # What one of several models cannot run is a rule.
    model_type = None if "model" in file.space else model_type_of(file.task.model)
    domains = {}
    for name in (name for name in LEVERS if name in file.space):

        def add_error(path: Path, message: str, name: str = name) -> None:
            document.add_error(("space", name, *path), message)

        domain = resolve_lever(LEVERS[name], file.space[name], host, add_error)
        if domain is not None:
            domain = restrict_to_model(LEVERS[name], domain, model_type, add_error)
        if domain is not None:
            domains[name] = domain
    if file.task.steps is not None and "epochs" in file.space:
        message = "task.steps fixes how long to train; search epochs, or set steps, not both"
        document.add_error(("space", "epochs"), message, key=True)
    return domains


def _condition(name: str, file: StudyFile, document: Document) -> str | None:
    """The lever's own condition and that of the file, joined; ``None`` if the latter is invalid."""
    own, text, path = LEVERS[name].when, file.space[name].when, ("space", name, "when")
    if text is None:
        return own
    condition = _parse_condition(text, path, file, document)
    if condition is None:
        return None
    order = {lever: index for index, lever in enumerate(LEVERS)}
    later = sorted(other for other in condition.names if order[other] >= order[name])
    if later:
        what = "itself" if later == [name] else ", ".join(other for other in later if other != name)
        earlier = ", ".join(other for other in LEVERS if order[other] < order[name]) or "none"
        message = f"{name} cannot depend on {what}; levers decided before it: {earlier}"
        document.add_error(path, message)
        return None
    return text if own is None else f"({own}) and ({text})"


def _space(
    domains: Iterable[tuple[str, Categorical | Range]],
    conditions: Mapping[str, str | None],
    default: Mapping[str, Value],
) -> SearchSpace:
    dimensions = tuple(Dimension(name, domain, conditions[name]) for name, domain in domains)
    return SearchSpace(dimensions, default)


def _inactive_levers(
    written: SearchSpace, available: SearchSpace, invalid: Collection[str], document: Document
) -> dict[str, str]:
    """Levers whose condition never holds on this host, and why. A condition that holds on no host
    is a mistake."""
    inactive: dict[str, str] = {}
    for dimension in written.dimensions:
        name, when = dimension.lever, dimension.when
        if when is None or not expression.parse(when, written.defaults.keys()).names.isdisjoint(
            invalid
        ):
            continue
        if not can_hold(when, written):
            message = f"{name} never matters: no strategy of this space has {when}"
            document.add_error(("space", name, "when"), message)
        elif not can_hold(when, available):
            inactive[name] = f"matters only when {when}, which this host cannot offer"
    return inactive


def _rules(file: StudyFile, document: Document) -> list[ForbiddenClause]:
    return [
        ForbiddenClause(rule.exclude, rule.because)
        for index, rule in enumerate(file.rules)
        if _parse_condition(rule.exclude, ("rules", index, "exclude"), file, document) is not None
    ]


def _check_rules(file: StudyFile, space: SearchSpace, document: Document) -> None:
    """Record a mistake if the rules exclude everything: at each rule that does so by itself, or
    else at the space."""
    exclude_all = [
        (index, rule.exclude)
        for index, rule in enumerate(file.rules)
        if not can_hold(f"not ({rule.exclude})", space)
    ]
    for index, text in exclude_all:
        message = f"'{text}' excludes every combination of this space"
        document.add_error(("rules", index, "exclude"), message)
    if not exclude_all and not is_any_allowed(space):
        relevant = [rule for rule in space.rules if can_hold(rule.excludes, space)]
        why = "; ".join(f"{rule.excludes} ({rule.reason})" for rule in relevant)
        message = f"rules exclude every combination of this space: {why}"
        document.add_error(("space",), message, key=True)
