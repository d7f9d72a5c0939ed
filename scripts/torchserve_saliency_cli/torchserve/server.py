"""A TorchServe on free loopback ports and in private folders, of which nothing is left after it is stopped.

with TorchServe(Path("model_store")) as server:
    reply = server.request("POST", "/predictions/leaves", picture)
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, cast
from urllib.parse import quote

from torchserve_saliency_cli.client.transport import Body, Reply, send
from torchserve_saliency_cli.files import CONFIG, METRICS
from torchserve_saliency_cli.torchserve.launch import ServerError as ServerError
from torchserve_saliency_cli.torchserve.launch import launch
from torchserve_saliency_cli.torchserve.processes import end_group, free_ports, is_free
from torchserve_saliency_cli.torchserve.properties import KEY_FILE, addresses, ports, read_properties, read_token

Api = Literal["inference", "management", "metrics"]
Entry = dict[str, object]


class TorchServe:
    """A TorchServe that runs from `start` (or `with`) to `stop`.

    It serves the archives of `model_store` with the settings of our config.properties, which `settings` (TorchServe's
    own properties) override. It listens on free ports; with `usual_ports`, on those of the file if all of them are
    free. If `authorize` is set, requests need a token. Logs and key file are in `folder`, or else in a private folder
    that is removed with the server.
    """

    def __init__(
        self,
        model_store: Path,
        settings: Mapping[str, str] | None = None,
        *,
        authorize: bool = False,
        usual_ports: bool = False,
        folder: Path | None = None,
        timeout: float = 180,
    ) -> None:
        self.model_store = model_store.resolve()
        self.settings = {
            **read_properties(CONFIG),
            "metrics_config": str(METRICS),  # the server is started in another folder
            **({} if usual_ports and usual_ports_are_free() else addresses(free_ports(5))),
            "model_store": str(self.model_store),
            "disable_token_authorization": str(not authorize).lower(),
            **(settings or {}),
        }
        self.authorize = authorize
        self.timeout = timeout
        self._folder: Path | None = None
        self._kept_folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._cleanup = ExitStack()

    def __enter__(self) -> TorchServe:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Return the address of the routes /predictions and /explanations."""
        return self.settings["inference_address"]

    @property
    def management_url(self) -> str:
        """Return the address of the route /models."""
        return self.settings["management_address"]

    @property
    def pid(self) -> int:
        """Return the process that leads the server's process group; raise ServerError if it is not running."""
        if self._process is None:
            raise ServerError("TorchServe is not running")
        return self._process.pid

    @property
    def folder(self) -> Path:
        """Return the folder of the key file and of `logs`; raise ServerError if the server was not started."""
        if self._folder is None:
            raise ServerError("TorchServe was not started")
        return self._folder

    def start(self) -> None:
        """Start the server and return when every model is ready.

        If that fails, raise ServerError and leave nothing running.
        """
        try:
            private = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="torchserve-")))
            self._folder = self._kept_folder or private
            logs = self._folder / "logs"
            logs.mkdir(parents=True, exist_ok=True)
            output = self._cleanup.enter_context((logs / "server.log").open("wb"))
            self._process = launch(self.settings, self._folder, private, output)
            self._await_models()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server and return when it and its workers have ended. If it is not running, do nothing."""
        process, self._process = self._process, None
        if process is not None:
            end_group(process)
            (self.folder / KEY_FILE).unlink(missing_ok=True)
        self._cleanup.close()

    def wait(self) -> None:
        """Return when the server has ended by itself."""
        if self._process is not None:
            self._process.wait()

    def token(self, kind: str = "inference") -> str | None:
        """Return the token `inference`, `management` or `API` (it renews the others), or None without authorization."""
        if not self.authorize or kind == "metrics":
            return None
        return read_token(self.folder / KEY_FILE, kind)

    def request(
        self,
        method: str,
        path: str,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        *,
        api: Api = "inference",
        timeout: float = 150,
    ) -> Reply:
        """Return the reply to a request with the token of its address; raise NoReplyError if there is none."""
        return send(self.settings[f"{api}_address"] + path, method, body, headers, self.token(api), timeout)

    def models(self) -> list[Entry]:
        """Return TorchServe's description of every version of every registered model."""
        listed = cast("dict[str, list[dict[str, str]]]", self._manage("/models?limit=1000"))["models"]
        names = sorted({model["modelName"] for model in listed})
        return [entry for name in names for entry in cast("list[Entry]", self._manage(f"/models/{quote(name)}/all"))]

    def log(self, lines: int = 40) -> str:
        """Return the last lines of output of the server and its workers, without the access log."""
        path = self.folder / "logs" / "server.log"
        output = path.read_text(errors="replace").splitlines() if path.exists() else []
        kept = [re.sub(r"^\S+ \[\w+ *\] W-\S+ MODEL_LOG - ", "", line) for line in output if "ACCESS_LOG" not in line]
        return "\n".join(kept[-lines:])

    def _manage(self, path: str) -> object:
        reply = self.request("GET", path, api="management", timeout=20)
        if reply.status != 200:
            raise ServerError(f"{path} was answered with {reply.status}: {reply.body.decode(errors='replace')}")
        return reply.json()

    def _await_models(self) -> None:
        deadline = time.monotonic() + self.timeout
        while not self._ready():
            if self._process is None or self._process.poll() is not None:
                raise ServerError(f"TorchServe ended during its start:\n{self.log()}")
            output = self.log(1000)
            if "Backend worker process died." in output:
                _, failed, why = output.partition("Failed to load model")
                raise ServerError(f"a model could not be loaded:\n{failed + why[:3000] or output[-3000:]}")
            if time.monotonic() > deadline:
                raise ServerError(f"TorchServe is not ready after {self.timeout:.0f} s:\n{self.log()}")
            time.sleep(0.1)

    def _ready(self) -> bool:
        try:
            models = self.models()
        except (OSError, ValueError):
            return False  # it does not listen yet, or has not finished writing its key file
        archives = len(list(self.model_store.glob("*.mar"))) if self.settings.get("load_models") == "all" else 0
        if len(models) < archives:
            raise ServerError(f"of {archives} archives, {len(models)} were registered:\n{self.log()}")
        workers = [cast("list[dict[str, str]]", model["workers"]) for model in models]
        loaded = all(found and all(worker["status"] == "READY" for worker in found) for found in workers)
        return loaded and not any(is_free(port) for port in ports(self.settings))  # gRPC starts last


def usual_ports_are_free() -> bool:
    """Tell whether nothing listens on the ports of config.properties."""
    return all(is_free(port) for port in ports(read_properties(CONFIG)))
