"""Serve a page on which a person picks a picture, a class and a method, and sees why a served model decides so."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from torchserve_saliency_cli.files import CONFIG, work_folder
from torchserve_saliency_cli.program import program
from torchserve_saliency_cli.torchserve.launch import ServerError, require_torchserve
from torchserve_saliency_cli.torchserve.properties import KEY_FILE, read_properties

PORT = 7860
PACKAGES = ("starlette", "uvicorn")


@dataclass(frozen=True)
class Service:
    """The TorchServe that the page asks, and the pictures that it offers."""

    url: str
    management_url: str
    key_file: Path | None
    samples: Path | None
    results: Path | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the page until it is interrupted; exit with a message after an error."""
    args = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a TorchServe of its own is stopped, too
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        sys.exit(f"the page needs {missing[0]}: pip install 'torchserve-saliency[page]'")
    try:
        with demonstration() if args.demo else given(args) as service:
            serve(service, args)
    except KeyboardInterrupt:
        print("stopped")
    except (ServerError, OSError, ValueError, RuntimeError) as error:
        sys.exit(str(error))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog=program("page"), description=__doc__, allow_abbrev=False)
    usual = read_properties(CONFIG)
    made.add_argument(
        "--url", default=usual["inference_address"], help="TorchServe's inference address (default: %(default)s)"
    )
    made.add_argument(
        "--management-url",
        default=usual["management_address"],
        help="TorchServe's management address (default: %(default)s)",
    )
    made.add_argument("--port", type=int, default=PORT, help="port of the page; 0 is a free one (default: %(default)s)")
    made.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on (default: %(default)s); who reaches the page can ask the models without a token",
    )
    made.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME[:PORT]",
        help="a further host name under which the page is opened, as a browser sends it; may be repeated",
    )
    made.add_argument(
        "--samples", type=Path, metavar="FOLDER", help="pictures to offer; subfolders or labels.csv name true classes"
    )
    made.add_argument(
        "--results", type=Path, metavar="FOLDER", help="results of `bulk` on these pictures, for the gallery"
    )
    made.add_argument(
        "--key-file", type=Path, metavar="FILE", help=f"TorchServe's key file (default: ./{KEY_FILE}, if it exists)"
    )
    made.add_argument("--demo", action="store_true", help="also serve the embedded model, and offer pictures of leaves")
    return made


@contextmanager
def given(args: argparse.Namespace) -> Iterator[Service]:
    """Yield the service that the command line names; raise ValueError for a file or a folder that does not exist."""
    folders = [folder for folder in (args.samples, args.results) if folder is not None and not folder.is_dir()]
    if folders:
        raise ValueError(f"there is no folder {folders[0]}")
    key_file = args.key_file or next(filter(Path.is_file, (Path(KEY_FILE), work_folder() / KEY_FILE)), None)
    if args.key_file is not None and not args.key_file.is_file():
        raise ValueError(f"there is no key file {args.key_file}")
    yield Service(args.url, args.management_url, key_file, args.samples, args.results)


@contextmanager
def demonstration() -> Iterator[Service]:
    """Yield a service that runs as long as it is used: the embedded model, with labelled pictures of leaves."""
    from torchserve_saliency_cli.leaves.labelled_folder import draw_labelled
    from torchserve_saliency_cli.serve import default_store
    from torchserve_saliency_cli.torchserve.server import TorchServe, usual_ports_are_free

    require_torchserve()
    samples = work_folder() / "demo" / "leaves"
    draw_labelled(samples)
    print("starting TorchServe ...", flush=True)
    usual = usual_ports_are_free()
    folder = work_folder() if usual else None  # the key file of another server may be there
    with TorchServe(default_store(), authorize=True, usual_ports=usual, folder=folder) as server:
        yield Service(server.url, server.management_url, server.folder / KEY_FILE, samples, None)


def serve(service: Service, args: argparse.Namespace) -> None:
    """Serve the page; print its address as soon as it answers."""
    from torchserve_saliency_cli.web.app import create_app
    from torchserve_saliency_cli.web.guard import hosts_of
    from torchserve_saliency_cli.web.pictures import Pictures
    from torchserve_saliency_cli.web.running import listen, run
    from torchserve_saliency_cli.web.upstream import Upstream

    upstream = Upstream(service.url, service.management_url, service.key_file)
    pictures = Pictures(service.samples)
    listener = listen(args.host, args.port)
    app = create_app(upstream, pictures, hosts_of(args.host, listener.port, args.allow_host), service.results)
    run(app, listener, lambda: print(f"the page is at {listener.url}", flush=True))
