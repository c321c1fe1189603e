"""The ``space`` and ``rules`` of a study file as a :class:`~autotune.domain.Space` on a host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from autotune.domain import Dimension, ForbiddenClause, Host, SearchSpace, Value, expression
from autotune.errors import ExpressionError
from autotune.levers import LEVERS, defaults, rules
from autotune.spec.conditions import anything_left, can_hold, unknown_names
from autotune.spec.document import Document, Path, nearest
from autotune.spec.domains import ResolvedDomain, SkippedSetting, resolve_lever
from autotune.spec.models import StudyFile

ORDER = {name: place for place, name in enumerate(LEVERS)}


def build(
    file: StudyFile, document: Document, host: Host
) -> tuple[SearchSpace, tuple[SkippedSetting, ...]]:
    """The space that ``file`` opens on ``host``, and the settings this host left out of it.

    Dimensions come in the registry's order, whatever the order in the file. A lever set to one
    value is a dimension of one value: the default configuration stays that of the Trainer.
    """
    default = defaults(host, 1.0 if file.task.epochs is None else file.task.epochs)
    searched = _searched(file, document, host)
    whens = {name: _when(name, file, document) for name in searched}
    broken = file.space.keys() - searched.keys()
    asked = _space(((n, s.asked) for n, s in searched.items()), whens, default)
    offered = _space(((n, s.offered) for n, s in searched.items()), whens, default)
    notes = [note for one in searched.values() for note in one.notes]
    idle = _idle(asked, offered, broken, document)
    notes += [SkippedSetting(name, "all settings", reason) for name, reason in idle.items()]
    kept = tuple(d for d in offered.dimensions if d.lever not in idle)
    space = SearchSpace(kept, default, (*rules(host), *_rules(file, document)))
    if not broken and not document.mistakes:
        _check_rules(file, space, document)
    return space, tuple(notes)


def condition(text: str, path: Path, document: Document) -> expression.Expression | None:
    """Read a condition over levers; ``None`` after recording what is wrong with it."""
    try:
        parsed = expression.parse(text, LEVERS.keys())
    except ExpressionError as error:
        hint = f"; {error.hint}" if error.hint else ""
        document.add_error(path, f"{error.message}{hint}", offset=error.column)
        return None
    strange = unknown_names(text, parsed.names)
    for column, word, close in strange:
        what = f"'{word}' is no lever, and no setting of {' or '.join(sorted(parsed.names))}"
        hint = f"; did you mean {close}?" if close else ""
        document.add_error(path, f"{what}{hint}", offset=column)
    return None if strange else parsed


def _searched(file: StudyFile, document: Document, host: Host) -> dict[str, ResolvedDomain]:
    for name in file.space.keys() - LEVERS.keys():
        document.add_error(
            ("space", name), f"unknown lever '{name}'; {nearest(name, LEVERS)}", key=True
        )
    found = {}
    for name in sorted(file.space.keys() & LEVERS.keys(), key=ORDER.__getitem__):

        def blame(place: Path, message: str, name: str = name) -> None:
            document.add_error(("space", name, *place), message)

        one = resolve_lever(LEVERS[name], file.space[name], host, blame)
        if one is not None:
            found[name] = one
    if file.task.steps is not None and "epochs" in file.space:
        message = "task.steps fixes how long to train; search epochs, or set steps, not both"
        document.add_error(("space", "epochs"), message, key=True)
    return found


def _when(name: str, file: StudyFile, document: Document) -> str | None:
    """The lever's own condition and the user's, joined; ``None`` where the user's is wrong."""
    own, text, path = LEVERS[name].when, file.space[name].when, ("space", name, "when")
    if text is None:
        return own
    parsed = condition(text, path, document)
    if parsed is None:
        return None
    late = sorted(other for other in parsed.names if ORDER[other] >= ORDER[name])
    if late:
        what = "itself" if late == [name] else ", ".join(other for other in late if other != name)
        earlier = ", ".join(other for other in LEVERS if ORDER[other] < ORDER[name]) or "none"
        document.add_error(
            path, f"{name} cannot depend on {what}; levers decided before it: {earlier}"
        )
        return None
    return text if own is None else f"({own}) and ({text})"


def _space(
    domains: Iterable[tuple[str, object]],
    whens: Mapping[str, str | None],
    default: Mapping[str, Value],
) -> SearchSpace:
    dimensions = tuple(Dimension(n, d, whens[n]) for n, d in domains)  # type: ignore[arg-type]
    return SearchSpace(dimensions, default)


def _idle(
    asked: SearchSpace, offered: SearchSpace, broken: set[str], document: Document
) -> dict[str, str]:
    """Levers whose condition never holds on this host, and why. One that holds on no host at all
    is a mistake."""
    idle: dict[str, str] = {}
    for dimension in asked.dimensions:
        name, when = dimension.lever, dimension.when
        if when is None or expression.parse(when, asked.defaults.keys()).names & broken:
            continue
        if not can_hold(when, asked):
            path: Path = ("space", name, "when")
            message = f"{name} never matters: no strategy of this space has {when}"
            document.add_error(path, message)
        elif not can_hold(when, offered):
            idle[name] = f"matters only when {when}, which this host cannot offer"
    return idle


def _rules(file: StudyFile, document: Document) -> list[ForbiddenClause]:
    found = []
    for index, rule in enumerate(file.rules):
        if condition(rule.exclude, ("rules", index, "exclude"), document) is not None:
            found.append(ForbiddenClause(rule.exclude, rule.because))
    return found


def _check_rules(file: StudyFile, space: SearchSpace, document: Document) -> None:
    """A mistake where rules leave nothing: at the rule that does so alone, else at the space."""
    alone = [
        (index, rule)
        for index, rule in enumerate(file.rules)
        if not can_hold(f"not ({rule.exclude})", space)
    ]
    for index, rule in alone:
        message = f"'{rule.exclude}' excludes every combination of this space"
        document.add_error(("rules", index, "exclude"), message)
    if not alone and not anything_left(space):
        reasons = [r for r in space.rules if can_hold(r.excludes, space)]
        why = "; ".join(f"{rule.excludes} ({rule.reason})" for rule in reasons)
        document.add_error(
            ("space",), f"rules exclude every combination of this space: {why}", key=True
        )
