"""Serve the archives of model_store/ on loopback until Ctrl-C, and print what to try: make serve."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scripts.embedded import archive_leaves
from scripts.leaves.draw import draw
from scripts.server import ServerError, TorchServe, usual_ports_are_free
from scripts.settings import KEY_FILE

STORE = ROOT / "model_store"
SAMPLE = Path("demo", "leaf.png")
PICTURE = Path("demo", "why_rust.png")
SEED = 4


def main() -> None:
    """Serve until interrupted, or until the server ends by itself."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    archive_leaves(STORE)
    (ROOT / SAMPLE).parent.mkdir(exist_ok=True)
    draw(SEED, ["rust", "scab"]).image.save(ROOT / SAMPLE)
    print("starting TorchServe ...", flush=True)
    try:
        # beside another server, the key file here is the other's
        folder = ROOT if usual_ports_are_free() else None
        with TorchServe(STORE, authorize=True, usual_ports=True, folder=folder) as server:
            print(lines(server), flush=True)
            server.wait()
            sys.exit(f"TorchServe ended by itself:\n{server.log()}")
    except KeyboardInterrupt:
        print("stopped")
    except ServerError as error:
        sys.exit(str(error))


def lines(server: TorchServe) -> str:
    """Return what to type to try the server."""
    names = ", ".join(sorted({str(model["modelName"]) for model in server.models()}))
    bearer = f"-H 'Authorization: Bearer {server.token()}'"
    manager = f"-H 'Authorization: Bearer {server.token('management')}'"
    keys = "" if server.folder == ROOT else f"--key-file {server.folder / KEY_FILE}"
    route = f"{server.url}/explanations/leaves"
    return f"""
serving {names} on {server.url} (Ctrl-C stops it); from {ROOT}, try:

# the classes alone
curl {bearer} -T {SAMPLE} {server.url}/predictions/leaves

# why rust: a picture
curl {bearer} -F data=@{SAMPLE} -F target=rust -F method=grad_cam -F render=overlay -F format=png -o {PICTURE} {route}

# why rust and not scab: classes, scores and pictures as JSON
curl {bearer} -F data=@{SAMPLE} -F target=rust -F against=scab {route}

# what the model can explain
curl {manager} '{server.management_url}/models/leaves?customized=true'

# the same from Python
.venv/bin/python scripts/explain.py {SAMPLE} --model leaves --url {server.url} --target rust --out {PICTURE} {keys}
"""


if __name__ == "__main__":
    main()
