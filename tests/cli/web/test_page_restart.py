"""A TorchServe that is not there, dies, and comes back on the same ports."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.cli.web.page_process import page_process
from tests.cli.web.visit import SLOWEST, Visit
from torchserve_saliency_cli.leaves.labelled_folder import draw_labelled
from torchserve_saliency_cli.torchserve.processes import free_ports
from torchserve_saliency_cli.torchserve.properties import KEY_FILE, addresses
from torchserve_saliency_cli.torchserve.server import TorchServe

LOST = "no TorchServe answers at"


@pytest.fixture
def store(model_store: Path, tmp_path: Path) -> Path:
    """Return a model store with the embedded model alone."""
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "leaves.mar").symlink_to(model_store / "leaves.mar")
    return folder


@pytest.fixture
def starts(store: Path, tmp_path: Path) -> Iterator[Callable[[], TorchServe]]:
    """Yield a function that starts a TorchServe, each time on the same ports and with new tokens in the same file."""
    settings = addresses(free_ports(5))
    with ExitStack() as stack:
        yield lambda: stack.enter_context(TorchServe(store, settings, authorize=True, folder=tmp_path / "run"))


@pytest.mark.server
def test_a_server_that_dies_and_comes_back(
    new_visit: Callable[..., Visit], starts: Callable[[], TorchServe], tmp_path: Path
) -> None:
    samples = tmp_path / "samples"
    draw_labelled(samples)
    server = starts()
    key_file = server.folder / KEY_FILE
    words = ("--url", server.url, "--management-url", server.management_url)
    with page_process(*words, "--samples", str(samples), "--key-file", str(key_file)) as process:
        visit = new_visit(url=process.url)
        visit.open("grad_cam")
        before, address = visit.pixels(), visit.page.url
        os.killpg(server.pid, signal.SIGKILL)
        server.stop()
        visit.combobox("Class").fill("scab")
        visit.combobox("Class").press("Tab")
        expect(visit.page.get_by_role("alert").filter(has_text=LOST).first).to_be_visible(timeout=SLOWEST)
        late = new_visit(url=process.url)
        late.page.goto(address)
        expect(late.page.get_by_role("alert").filter(has_text=LOST)).to_be_visible(timeout=SLOWEST)
        late.page.get_by_label("Picture", exact=True).set_input_files(samples / "scab" / "2.png")
        starts()
        for one in visit, late:
            expect(one.map("grad_cam")).to_be_visible(timeout=SLOWEST)
            one.done()
            assert one.alerts() == []
        assert visit.pixels() != before
        visit.choose("Class", "")
        assert visit.pixels() == before
    assert process.errors == ""
