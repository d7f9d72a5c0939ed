"""Serve the archives of a model store on loopback until Ctrl-C, and print commands to try."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torchserve_saliency_cli.files import work_folder
from torchserve_saliency_cli.leaves.draw import draw
from torchserve_saliency_cli.leaves.embedded_archive import NAME, archive_leaves
from torchserve_saliency_cli.program import calling, program
from torchserve_saliency_cli.torchserve.launch import require_torchserve
from torchserve_saliency_cli.torchserve.properties import KEY_FILE
from torchserve_saliency_cli.torchserve.server import ServerError, TorchServe, usual_ports_are_free

SEED = 4


@dataclass(frozen=True)
class Example:
    """A request to try: a model, a picture file, two classes, and the file for the explanation."""

    model: str
    picture: Path
    target: str
    against: str
    out: Path


LEAF = Example(NAME, Path("demo", "leaf.png"), "rust", "scab", Path("demo", "why_rust.png"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until the server is interrupted or ends by itself; exit with a message after an error."""
    args = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        require_torchserve()
        serve(args.model_store or default_store(), args.free_ports)
    except KeyboardInterrupt:
        print("stopped")
    except ServerError as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError:
        sys.exit("the embedded model could not be archived (the reason is above)")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog=program("serve"), description=__doc__, allow_abbrev=False)
    made.add_argument(
        "--model-store",
        type=Path,
        metavar="FOLDER",
        help="folder of archives (.mar); by default model_store, to which the embedded model is added",
    )
    made.add_argument(
        "--free-ports",
        action="store_true",
        help="listen on free ports, also if those of config.properties (8080 and so on) are free",
    )
    return made


def default_store() -> Path:
    """Return the folder `model_store` after adding the embedded model's archive."""
    store = work_folder() / "model_store"
    archive_leaves(store)
    return store


def serve(store: Path, free_ports: bool) -> None:
    """Serve a model store until the server ends, which raises ServerError."""
    if not list(store.glob("*.mar")):
        raise ServerError(f"there is no archive (.mar) in '{store}'")
    print("starting TorchServe ...", flush=True)
    usual = not free_ports and usual_ports_are_free()
    folder = work_folder() if usual else None  # the key file of another server may be there
    with TorchServe(store, authorize=True, usual_ports=usual, folder=folder) as server:
        names = sorted({str(model["modelName"]) for model in server.models()})
        print(instructions(server, names, example(names)), flush=True)
        server.wait()
        raise ServerError(f"TorchServe ended by itself:\n{server.log()}")


def example(names: Sequence[str]) -> Example:
    """Return a request for one of the models: for the embedded one, with a picture that is drawn, if it is served."""
    if NAME not in names:
        return Example(names[0], Path("PICTURE.jpg"), "predicted", "runner_up", Path("why.png"))
    picture = work_folder() / LEAF.picture
    picture.parent.mkdir(exist_ok=True)
    draw(SEED, ["rust", "scab"]).image.save(picture)
    return LEAF


def instructions(server: TorchServe, names: Sequence[str], ask: Example) -> str:
    """Return the server's models and address, and commands to try."""
    bearer = f"-H 'Authorization: Bearer {server.token()}'"
    manager = f"-H 'Authorization: Bearer {server.token('management')}'"
    keys = "" if server.folder == work_folder() else f"--key-file {server.folder / KEY_FILE}"
    route = f"{server.url}/explanations/{ask.model}"
    form = f"-F data=@{ask.picture} -F target={ask.target}"
    return f"""
serving {", ".join(names)} on {server.url} (Ctrl-C stops it); from {work_folder()}, try:

# the predictions alone
curl {bearer} -T {ask.picture} {server.url}/predictions/{ask.model}

# why {ask.target}: a picture
curl {bearer} {form} -F method=grad_cam -F render=overlay -F format=png -o {ask.out} {route}

# why {ask.target} and not {ask.against}: classes, scores and maps as JSON
curl {bearer} {form} -F against={ask.against} {route}

# the methods, layers and limits of the model
curl {manager} '{server.management_url}/models/{ask.model}?customized=true'

# the same from Python
{calling("explain")} {ask.picture} --model {ask.model} --url {server.url} --target {ask.target} --out {ask.out} {keys}
"""
