"""The command `serve`: its help, its errors, and the commands that it prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from torchserve_saliency_cli.serve import Example, instructions
from torchserve_saliency_cli.torchserve.server import TorchServe

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command from a clone."""
    command = [sys.executable, str(ROOT / "scripts" / "serve.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_help_starts_no_server() -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: serve.py ")
    assert run("--model-stoer", "x").returncode == 2


def test_a_model_store_without_archives_is_an_error_message(tmp_path: Path) -> None:
    done = run("--model-store", tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip() == f"there is no archive (.mar) in '{tmp_path}'"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("called", "expected"),
    [
        ("scripts/serve.py", ".venv/bin/python scripts/explain.py"),
        ("torchserve-saliency serve", "torchserve-saliency explain"),
    ],
)
def test_the_commands_are_those_of_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: str, expected: str
) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    url = "http://127.0.0.1:1"
    server = SimpleNamespace(
        url=url, management_url=url, folder=tmp_path, token=lambda kind="inference": f"{kind}-token"
    )
    ask = Example("net", Path("cat.png"), "cat", "dog", Path("why.png"))
    text = instructions(cast(TorchServe, server), ["net", "other"], ask)
    assert f"serving net, other on {url} " in text
    key_file = tmp_path / "key_file.json"
    assert f"{expected} cat.png --model net --url {url} --target cat --out why.png --key-file {key_file}\n" in text
    assert "-H 'Authorization: Bearer management-token'" in text
