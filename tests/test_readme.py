"""The pages of the documentation: their commands run, their links lead somewhere, and their tables are complete.

Every shell and Python block of PAGES runs against the live server, unless a comment before it gives a reason:
`<!-- not run: reason -->`. The blocks run in one folder that looks like the repository after `make demo`, with the
environment's commands and `torchserve-saliency` on the PATH, and the packages on PYTHONPATH as after `pip install .`.
A shell block knows the variables that earlier shell blocks of its page set at the start of a line; a Python block runs
after the earlier Python blocks of its page, in the same process, as the cells of a notebook do. A block fails if a
request is answered with an error, or if it prints an error object.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from tests.block_interpreter import BlockInterpreter
from torchserve_saliency import schema
from torchserve_saliency.methods import METHODS
from torchserve_saliency.model.archive import Limits
from torchserve_saliency.requests.options import OPTIONS, PARAMETERS, Options
from torchserve_saliency_cli.page import parser as page_parser
from torchserve_saliency_cli.torchserve.server import TorchServe

ROOT = Path(__file__).resolve().parents[1]
PAGES: Mapping[str, str] = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("model_store/*.md")])
}
README = PAGES["README.md"]
LONGEST_README = 150  # lines
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^\n]*?) -->\n+)?^```(?P<language>bash|sh|python)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
ASSIGNMENT = re.compile(r"^(?:export )?[A-Z_]+=.*$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")
FLAG = re.compile(r"--[a-z][a-z-]*")
COMMAND = "torchserve-saliency"
ERROR_OBJECT = re.compile(r'"code":\s*[45]\d\d')
DEFAULTS_IN_WORDS = ("target", "against", "colormap", "head")


@dataclass(frozen=True)
class Block:
    """A block of code; `reason` says why it is not run, and `earlier` are the blocks before it on its page."""

    page: str
    number: int
    language: str
    code: str
    reason: str | None
    earlier: tuple[Block, ...]

    def __str__(self) -> str:
        first = next((line for line in self.code.splitlines() if line.strip()), "empty")
        return f"{self.page}-{self.number}-{first[:40]}"

    @property
    def is_python(self) -> bool:
        """Return whether the block is Python, not shell."""
        return self.language == "python"

    def before(self) -> list[Block]:
        """Return the earlier blocks of its language that run."""
        return [block for block in self.earlier if not block.reason and block.is_python == self.is_python]

    def script(self) -> str:
        """Return the code of a shell block, with the variables of the earlier ones."""
        return "\n".join([*("\n".join(ASSIGNMENT.findall(block.code)) for block in self.before()), self.code])


def blocks_of(page: str) -> Iterator[Block]:
    """Yield the blocks of a page in order."""
    earlier: tuple[Block, ...] = ()
    for number, found in enumerate(BLOCK.finditer(PAGES[page]), 1):
        block = Block(page, number, found["language"], found["code"], found["reason"], earlier)
        yield block
        earlier = (*earlier, block)


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.fixture(scope="module")
def folder(server: TorchServe, leaf: bytes, model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder like the repository's root after `make demo`, with the folder of shared data beside it."""
    root = tmp_path_factory.mktemp("readme") / "repository"
    for name in ("demo", "model_store", "bin"):
        (root / name).mkdir(parents=True)
    for name in ("handlers", "scripts", "config.properties", "pyproject.toml", "constraints.txt", "Makefile"):
        (root / name).symlink_to(ROOT / name)
    (root / ".venv").symlink_to(sys.prefix)
    (root / "key_file.json").symlink_to(server.folder / "key_file.json")
    (root / "model_store" / "leaves.mar").symlink_to(model_store / "leaves.mar")
    if (ROOT.parent / "shared").exists():
        (root.parent / "shared").symlink_to(ROOT.parent / "shared")
    for name in ("leaf", "rust", "rust_and_scab"):
        (root / "demo" / f"{name}.png").write_bytes(leaf)
    command = root / "bin" / COMMAND
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m torchserve_saliency_cli "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    (root / ".curlrc").write_text("fail\n", encoding="utf-8")  # also if the answer is written to a file
    return root


@pytest.fixture(scope="module")
def environment(folder: Path) -> dict[str, str]:
    """Return the environment variables in which blocks run."""
    path = [str(folder / "bin"), str(Path(sys.prefix, "bin")), os.environ["PATH"]]
    roots = [str(ROOT / "handlers"), str(ROOT / "scripts")]
    variables = {"PATH": os.pathsep.join(path), "PYTHONPATH": os.pathsep.join(roots), "CURL_HOME": str(folder)}
    return {**os.environ, **variables}


@pytest.fixture(scope="module")
def interpreters(folder: Path, environment: dict[str, str]) -> Iterator[Callable[[str], BlockInterpreter]]:
    """Yield a function that returns the interpreter of a page."""
    started: dict[str, BlockInterpreter] = {}

    def interpreter(page: str) -> BlockInterpreter:
        if page not in started:
            started[page] = BlockInterpreter(folder, environment)
        return started[page]

    yield interpreter
    for one in started.values():
        one.close()


@pytest.mark.parametrize("block", [block for block in BLOCKS if not block.is_python], ids=str)
def test_a_shell_block_runs(block: Block, folder: Path, environment: dict[str, str], server: TorchServe) -> None:
    if block.reason:
        pytest.skip(f"{block}: {block.reason}")
    code = with_addresses(block.script(), server)
    command = ["bash", "-euc", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not ERROR_OBJECT.search(done.stdout), done.stdout


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.is_python], ids=str)
def test_a_python_block_runs(block: Block, interpreters: Callable[[str], BlockInterpreter], server: TorchServe) -> None:
    if block.reason:
        pytest.skip(f"{block}: {block.reason}")
    for one in block.before():
        interpreters(block.page).run(with_addresses(one.code, server))
    done, output = interpreters(block.page).run(with_addresses(block.code, server))
    assert done, output
    assert not ERROR_OBJECT.search(output), output


def with_addresses(code: str, server: TorchServe) -> str:
    """Return the code with the default addresses, also that of the client, replaced by those of the test's server."""
    addresses = {"http://127.0.0.1:8080": server.url, "http://127.0.0.1:8081": server.management_url}
    for default, address in addresses.items():
        code = re.sub(rf"(?:http://)?{re.escape(default.removeprefix('http://'))}", address, code)
    for client in (f"{COMMAND} explain ", "scripts/explain.py "):
        code = code.replace(client, f"{client}--url {server.url} ")
    return code


def test_most_blocks_run() -> None:
    assert sum(block.reason is None for block in BLOCKS if block.page == "README.md") >= 3
    assert sum(block.reason is None for block in BLOCKS) >= 10
    pages = {block.page for block in BLOCKS if block.reason is None}
    assert pages >= {"docs/options.md", "docs/archive.md", "docs/notebook.md", "docs/protocols.md"}


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= LONGEST_README


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_for_whom_it_is(page: str) -> None:
    if page in ("README.md", "model_store/README.md"):
        pytest.skip("it is the first page of its folder")
    _, _, text = PAGES[page].partition("\n\n")
    assert text.startswith("This page is for people who ")


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/")])
def test_a_page_is_linked_from_the_readme(page: str) -> None:
    assert f"]({page})" in README


@pytest.mark.parametrize(
    "target",
    sorted({found for text in PAGES.values() for found in re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)}),
)
def test_a_make_target_exists(target: str) -> None:
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("page", "link"), sorted({(page, link) for page, text in PAGES.items() for link in LINK.findall(text)})
)
def test_a_link_leads_to_a_file_and_a_heading(page: str, link: str) -> None:
    name, _, heading = link.partition("#")
    path = (ROOT / page).parent / name if name else ROOT / page
    assert path.exists()
    if heading:
        assert heading in anchors(path.read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "path",
    sorted(
        {
            path
            for page, text in PAGES.items()
            if page != "CHANGELOG.md"
            for path in re.findall(r"(?<![\w/.-])((?:scripts|tools|handlers|deploy|docs)/[\w/.-]*\w)", text)
        }
    ),
)
def test_a_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(\w[\w/]*/\w+\.py)`", PAGES["ARCHITECTURE.md"]))))
def test_a_module_of_the_architecture_exists(path: str) -> None:
    assert (ROOT / path).is_file() or (ROOT / "handlers" / "torchserve_saliency" / path).is_file()


@pytest.mark.parametrize(
    "module", sorted({name for text in PAGES.values() for name in re.findall(r"python -m (tools\.[\w.]*\w)", text)})
)
def test_a_tool_exists(module: str) -> None:
    path = ROOT / module.replace(".", "/")
    assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def test_the_page_of_methods_says_when_to_use_each() -> None:
    uses, _, _ = PAGES["docs/methods.md"].partition("\n## ")
    assert sorted(rows(uses)) == sorted(METHODS)


def test_the_page_of_options_has_every_option() -> None:
    assert set(rows(PAGES["docs/options.md"])) >= {*OPTIONS, *PARAMETERS}


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_a_parameter_is_documented_with_its_methods_and_defaults(parameter: str) -> None:
    cell = rows(PAGES["docs/options.md"])[parameter][-1]
    groups = [group.partition(":") for group in cell.split(";")]
    documented = {name: default for names, _, default in groups for name in re.findall(r"`(\w+)`", names)}
    assert documented.keys() == PARAMETERS[parameter]
    for method, default in documented.items():
        expected = schema.describe(METHODS[method].parameters)[parameter]
        if expected["default"] is None:
            continue  # the network's default layer, or none
        value, *_ = re.findall(r"`?([\w.-]+)`?", default)
        assert same(value, expected["default"])
        if bounds := re.search(r"\(([\d.e-]+)–([\d.e]+)\)", default):
            assert same(bounds[1], expected["minimum"])
            assert same(bounds[2], expected["maximum"])
        else:
            assert "choices" in expected


def same(text: str, value: object) -> bool:
    """Return whether a documented text is a value."""
    return text == value if isinstance(value, str) else float(text) == value


@pytest.mark.parametrize("option", [name for name in OPTIONS if name not in DEFAULTS_IN_WORDS])
def test_the_default_of_an_option_is_documented(option: str) -> None:
    default = schema.describe(Options)[option]["default"]
    text = rows(PAGES["docs/options.md"])[option][0].strip("` ")
    assert text == str(default).lower() if isinstance(default, bool) else same(text, default)


def test_the_page_of_archives_has_every_flag_and_limit() -> None:
    page = PAGES["docs/archive.md"]
    command = [sys.executable, str(ROOT / "scripts" / "archive.py"), "--help"]
    usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    defaults = {f"--{name.replace('_', '-')}" for name in (*OPTIONS, *PARAMETERS)} - {"--seed"}
    own = set(FLAG.findall(usage)) - defaults - {"--help"}
    assert {"--arch", "--seed", "--version"} <= own
    assert own <= set(FLAG.findall(page))
    assert set(rows(page)) >= {field.name for field in fields(Limits)}


def test_the_page_of_the_page_has_every_flag_with_its_default() -> None:
    table = dict(re.findall(r"^\| `(--[\w-]+)` \| ([^|]+?) \|", PAGES["docs/page.md"], re.MULTILINE))
    flags = {action.option_strings[-1]: action.default for action in page_parser()._actions if action.dest != "help"}
    assert table.keys() == flags.keys()
    for flag in ("--port", "--host"):
        assert table[flag] == str(flags[flag])


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells after the first of each table row that begins with a name in code; the first row of a name."""
    found = re.findall(r"^\| `([\w-]+)` \| (.*) \|$", text, re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in reversed(found)}
