"""The password: hashed, rate-limited, required for other machines."""

from __future__ import annotations

import pytest

from autotune.errors import UsageError
from dashboard.password import (
    MAX_ATTEMPTS,
    MAX_TOTAL_ATTEMPTS,
    WINDOW_SECONDS,
    PasswordGate,
    PasswordHash,
    read_password,
    visitor_id,
)


def test_password_is_hashed_and_rate_limited() -> None:
    moment = [0.0]
    gate = PasswordGate("correct horse", clock=lambda: moment[0])
    assert b"correct horse" not in PasswordHash.from_password("correct horse").digest
    for _ in range(MAX_ATTEMPTS):
        assert not gate.accepts("wrong")
    assert gate.wait_seconds() == WINDOW_SECONDS
    assert not gate.accepts("correct horse")
    moment[0] = WINDOW_SECONDS
    assert gate.accepts("correct horse")


def test_attacker_does_not_lock_out_others() -> None:
    moment = [0.0]
    gate = PasswordGate("correct horse", clock=lambda: moment[0])
    for _ in range(MAX_ATTEMPTS):
        assert not gate.accepts("wrong", "203.0.113.9")
    assert not gate.accepts("correct horse", "203.0.113.9")
    assert gate.wait_seconds("203.0.113.9") == WINDOW_SECONDS
    assert gate.wait_seconds("203.0.113.10") == 0 == gate.wait_seconds(None)
    assert gate.accepts("correct horse", "203.0.113.10")


def test_attempts_from_many_addresses_are_limited_in_total() -> None:
    gate = PasswordGate("correct horse", clock=lambda: 0.0)
    addresses = [f"198.51.100.{n}" for n in range(MAX_TOTAL_ATTEMPTS)]
    gate._hash = NeverMatches()  # type: ignore[assignment]
    for address in addresses:
        assert gate.wait_seconds(address) == 0 and not gate.accepts("wrong", address)
    assert gate.wait_seconds("203.0.113.9") == WINDOW_SECONDS
    assert len(gate._wrong) == MAX_TOTAL_ATTEMPTS


class NeverMatches:
    """A hash that no password matches, without the time that a real one takes."""

    def matches(self, password: str) -> bool:
        return False


def test_visitors_are_identified_by_network_address() -> None:
    assert visitor_id("2001:db8::1") == visitor_id("2001:db8::ffff") != visitor_id("2001:db8:1::1")
    assert visitor_id("::ffff:192.0.2.7") == visitor_id("192.0.2.7") != visitor_id("192.0.2.8")
    assert visitor_id(None) != visitor_id("testclient")


def test_password_is_required_and_has_a_minimum_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOTUNE_DASHBOARD_PASSWORD", raising=False)
    with pytest.raises(UsageError, match="needs a password"):
        read_password()
    assert read_password(lambda _: "from a prompt") == "from a prompt"
    monkeypatch.setenv("AUTOTUNE_DASHBOARD_PASSWORD", "from outside")
    assert read_password(lambda _: "unused") == "from outside"
    with pytest.raises(UsageError, match="at least 8"):
        PasswordGate("short")
