"""The audit of packages: fails for an open hole, not for an excepted one, and says plainly when nobody was asked."""

from __future__ import annotations

import pytest

from scripts import audit

HOLE = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1"]}
HELD: list[audit.Package] = [
    {"name": "leaky", "version": "1.0", "vulns": [HOLE]},
    {"name": "sound", "version": "2.0", "vulns": []},
]


def test_an_open_hole_ends_it_with_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(audit, "asked", lambda: HELD)
    with pytest.raises(SystemExit) as ended:
        audit.main()
    assert ended.value.code == 1
    assert "leaky 1.0: PYSEC-1" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["PYSEC-1", "CVE-1"])
def test_an_excepted_hole_is_closed_by_any_of_its_names(name: str) -> None:
    assert audit.open_holes(list(HELD), {name: "the part with the hole is never called"}) == []


@pytest.mark.parametrize("answer", [None, [], [{"name": "unknown", "skip_reason": "not found"}]])
def test_where_no_service_answers_it_says_so(
    answer: list[audit.Package] | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "asked", lambda: answer)
    audit.main()
    assert "NOT audited" in capsys.readouterr().out


def test_every_exception_says_why() -> None:
    assert all(len(why.split()) > 3 for why in audit.EXCEPTIONS.values())
