"""The README, executed: its shell and Python blocks run against the live server, its files and targets exist.

A block is left out, by name and with the reason, where a comment stands before it: `<!-- not run: reason -->`.
Blocks run from top to bottom in one folder that looks like the repository's root, with the environment's
commands on the PATH and `handlers` on Python's; a shell variable that a block sets at the beginning of a line is
known to the later ones. Answers that are error objects fail the block.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from saliency.methods import METHODS
from scripts.server import TorchServe

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8") if README.exists() else ""
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^\n]*?) -->\n+)?^```(?P<language>bash|sh|python)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
ASSIGNMENT = re.compile(r"^(?:export )?[A-Z_]+=.*$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One block of code of the README."""

    number: int
    language: str
    code: str
    reason: str | None

    def __str__(self) -> str:
        first = next((line for line in self.code.splitlines() if line.strip()), "empty")
        return f"{self.number}-{first[:50]}"


BLOCKS = [
    Block(number, found["language"], found["code"], found["reason"])
    for number, found in enumerate(BLOCK.finditer(TEXT), 1)
]


@pytest.fixture(scope="module")
def workplace(server: TorchServe, leaf: bytes, model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder like the repository's root after `make demo`, beside which the shared data would be."""
    root = tmp_path_factory.mktemp("readme") / "repository"
    (root / "demo").mkdir(parents=True)
    (root / "model_store").mkdir()
    for name in ("handlers", "scripts", "config.properties", "pyproject.toml", "constraints.txt", "Makefile"):
        (root / name).symlink_to(ROOT / name)
    (root / ".venv").symlink_to(sys.prefix)
    (root / "key_file.json").symlink_to(server.folder / "key_file.json")
    (root / "model_store" / "leaves.mar").symlink_to(model_store / "leaves.mar")
    if (ROOT.parent / "shared").exists():
        (root.parent / "shared").symlink_to(ROOT.parent / "shared")
    for name in ("leaf", "rust", "rust_and_scab"):
        (root / "demo" / f"{name}.png").write_bytes(leaf)
    return root


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_runs(block: Block, workplace: Path, server: TorchServe) -> None:
    if block.reason:
        pytest.skip(f"README block {block}: {block.reason}")
    environment = {**os.environ, "PATH": f"{Path(sys.prefix, 'bin')}{os.pathsep}{os.environ['PATH']}"}
    if block.language == "python":
        environment["PYTHONPATH"] = str(ROOT / "handlers")
        command = [sys.executable, "-c", addressed(block.code, server)]
    else:
        earlier = [line for each in BLOCKS[: block.number - 1] for line in assignments(each)]
        command = ["bash", "-euc", addressed("\n".join([*earlier, block.code]), server)]
    done = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search(r'"code":\s*[45]\d\d', done.stdout), done.stdout


def assignments(block: Block) -> list[str]:
    """Return the shell variables that a block sets for those after it, where it is run."""
    return ASSIGNMENT.findall(block.code) if block.language != "python" and not block.reason else []


def addressed(code: str, server: TorchServe) -> str:
    """Return the code with the usual addresses, said or meant, replaced by the test server's."""
    usual = {"http://127.0.0.1:8080": server.url, "http://127.0.0.1:8081": server.management_url}
    for address, own in usual.items():
        code = re.sub(rf"(?:http://)?{re.escape(address.removeprefix('http://'))}", own, code)
    return code.replace("scripts/explain.py ", f"scripts/explain.py --url {server.url} ")


def test_the_readme_has_blocks_that_run() -> None:
    assert sum(block.reason is None for block in BLOCKS) >= 3


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`)make ([a-z]+)", TEXT, re.MULTILINE))))
def test_a_make_target_exists(target: str) -> None:
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!https?:|#)([^)#\s]+)", TEXT))))
def test_a_link_leads_to_a_file(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_page_of_methods_says_when_to_ask_each() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    when, _, _ = page.partition("## Ranked")
    assert sorted(re.findall(r"^\| `(\w+)` \|", when, re.MULTILINE)) == sorted(METHODS)
