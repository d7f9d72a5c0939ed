"""The command `page`: its help, its errors, and the line with its address."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.web.page_process import page_process
from tests.cli.web.small_torchserve import small_torchserve, write_key_file
from torchserve_saliency_cli.client.transport import send
from torchserve_saliency_cli.files import CONFIG
from torchserve_saliency_cli.page import PORT, given, parser
from torchserve_saliency_cli.torchserve.processes import free_ports, is_free
from torchserve_saliency_cli.torchserve.properties import KEY_FILE, read_properties

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command from a clone until it ends."""
    command = [sys.executable, str(ROOT / "scripts" / "page.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder)


def error(*words: str | Path, folder: Path = ROOT) -> str:
    """Return the one line with which the command fails."""
    done = run(*words, folder=folder)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    return line


def test_help_names_every_option_and_starts_nothing() -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    options = ("--url", "--management-url", "--port", "--host", "--samples", "--results", "--key-file", "--demo")
    assert all(option in done.stdout for option in options)
    assert run("--prot", "1").returncode == 2
    assert run("--port", "x").returncode == 2


def test_the_defaults_are_those_of_config_properties() -> None:
    args, usual = parser().parse_args([]), read_properties(CONFIG)
    assert (args.url, args.management_url) == (usual["inference_address"], usual["management_address"])
    assert (args.port, args.host, args.allow_host) == (PORT, "127.0.0.1", [])


def test_a_missing_folder_or_key_file_is_a_sentence(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert error("--samples", missing) == f"there is no folder {missing}"
    assert error("--results", missing) == f"there is no folder {missing}"
    assert error("--key-file", missing) == f"there is no key file {missing}"
    assert error("--key-file", tmp_path) == f"there is no key file {tmp_path}"
    (tmp_path / "file.png").touch()
    assert error("--samples", tmp_path / "file.png") == f"there is no folder {tmp_path / 'file.png'}"


def test_a_folder_without_pictures_is_a_sentence(tmp_path: Path) -> None:
    assert error("--samples", tmp_path, "--port", "0").startswith(f"there are no pictures in the folder {tmp_path}")


def test_a_port_in_use_is_a_sentence(tmp_path: Path) -> None:
    with small_torchserve() as other:
        assert f"cannot listen on 127.0.0.1:{other.server_port}" in error("--port", str(other.server_port))


def test_the_key_file_of_the_folder_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_key_file(tmp_path)
    with given(parser().parse_args([])) as service:
        assert service.key_file == Path(KEY_FILE)


def test_the_page_prints_its_address_when_it_answers(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    port = free_ports(1)[0]
    with small_torchserve() as torchserve:
        torchserve.list_models([])
        words = ("--url", torchserve.url, "--management-url", torchserve.url, "--samples", str(tmp_path))
        with page_process(*words, port=port) as page:
            assert re.fullmatch(rf"the page is at http://127\.0\.0\.1:{port}/\n", page.line)
            assert send(page.url).status == 200
            listed = send(f"{page.url}api/server").json()
            assert isinstance(listed, dict)
            assert (listed["models"], listed["samples"]) == ([], [{"name": "a.png"}])
            foreign = send(page.url, headers={"Host": "evil.example"})
            assert foreign.status == 403
    assert is_free(port)
    assert page.errors == ""
