"""How long a job waits for released resources before it requests a placement group."""

from __future__ import annotations

import pytest
import ray

from autotune.execution.ray import resources


@pytest.mark.parametrize(
    ("required", "free", "reserved", "is_being_released"),
    [
        (1.0, 1.0, 1.0, False),  # enough is free
        (2.0, 1.0, 0.0, True),  # a removed group still holds one of two
        (2.0, 1.0, 1.0, False),  # another trial holds it
    ],
)
def test_waits_only_for_resources_of_removed_groups(
    monkeypatch: pytest.MonkeyPatch,
    required: float,
    free: float,
    reserved: float,
    is_being_released: bool,
) -> None:
    groups = {
        "a": {"state": "CREATED", "bundles": {0: {"CPU": reserved}}},
        "b": {"state": "REMOVED", "bundles": {0: {"CPU": 2.0}}},
    }
    monkeypatch.setattr(resources, "placement_group_table", lambda: groups)
    monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": free})
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    assert resources._is_being_released("CPU", required) is is_being_released
