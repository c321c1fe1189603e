"""Every error keeps its message, hint and attributes when it is sent between processes."""

from __future__ import annotations

import pickle

import pytest

from autotune import errors


def _all_subclasses(root: type[errors.AutotuneError]) -> list[type[errors.AutotuneError]]:
    return [root, *(error for sub in root.__subclasses__() for error in _all_subclasses(sub))]


SPECIAL_ERRORS: dict[type[errors.AutotuneError], errors.AutotuneError] = {
    errors.SpecError: errors.SpecError([errors.Mistake("a.yaml", 1, 2, "no")], hint="fix"),
    errors.MissingExtraError: errors.MissingExtraError("ray", "cluster", "the cluster"),
    errors.ExpressionError: errors.ExpressionError("unreadable", column=4, hint="quote it"),
}


@pytest.mark.parametrize("kind", _all_subclasses(errors.AutotuneError))
def test_errors_survive_pickling(kind: type[errors.AutotuneError]) -> None:
    error = SPECIAL_ERRORS.get(kind) or kind("what is wrong", hint="what to type")
    error.add_note("seen by the worker")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
