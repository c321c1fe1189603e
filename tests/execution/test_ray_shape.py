"""What a job waits for before it asks Ray for room."""

from __future__ import annotations

import pytest
import ray

from autotune.execution.ray import resources


@pytest.mark.parametrize(
    ("wanted", "free", "held", "leaving"),
    [
        (1.0, 1.0, 1.0, False),  # there is enough
        (2.0, 1.0, 0.0, True),  # a removed group still holds one of two
        (2.0, 1.0, 1.0, False),  # another trial holds it: nothing to wait for
    ],
)
def test_only_what_nobody_holds_any_more_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, wanted: float, free: float, held: float, leaving: bool
) -> None:
    groups = {
        "a": {"state": "CREATED", "bundles": {0: {"CPU": held}}},
        "b": {"state": "REMOVED", "bundles": {0: {"CPU": 2.0}}},
    }
    monkeypatch.setattr(resources, "placement_group_table", lambda: groups)
    monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": free})
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    assert resources._is_leaving("CPU", wanted) is leaving
