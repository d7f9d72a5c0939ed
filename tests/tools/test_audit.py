"""The audit fails if a vulnerability is open, accepts exceptions, and reports if no service could be reached."""

from __future__ import annotations

import pytest

from tools import audit

VULNERABILITY = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1"]}
PACKAGES: list[audit.Package] = [
    {"name": "leaky", "version": "1.0", "vulns": [VULNERABILITY]},
    {"name": "sound", "version": "2.0", "vulns": []},
]


def test_an_open_vulnerability_gives_exit_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "run_pip_audit", lambda: PACKAGES)
    assert audit.main([]) == 1
    assert "leaky 1.0: PYSEC-1" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["PYSEC-1", "CVE-1"])
def test_an_exception_may_name_the_vulnerability_or_an_alias(name: str) -> None:
    assert audit.open_vulnerabilities(list(PACKAGES), {name: "the vulnerable function is never called"}) == []


@pytest.mark.parametrize("packages", [None, [], [{"name": "unknown", "skip_reason": "not found"}]])
def test_a_warning_is_printed_if_no_service_can_be_reached(
    packages: list[audit.Package] | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "run_pip_audit", lambda: packages)
    assert audit.main([]) == 0
    assert "NOT audited" in capsys.readouterr().out


def test_every_exception_has_a_reason() -> None:
    assert all(len(reason.split()) > 3 for reason in audit.EXCEPTIONS.values())
