"""A TorchServe of one's own: free loopback ports, private folders, and nothing left of it when it is stopped.

with TorchServe(Path("model_store")) as server:
    reply = server.request("POST", "/predictions/leaves", picture)
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Literal, cast
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scripts.processes import end_group, free_ports, is_free
from scripts.settings import KEY_FILE, addresses, environment, ports, read_properties, read_token, write_properties
from scripts.wire import Body, Reply, send

CONFIG = ROOT / "config.properties"
Api = Literal["inference", "management", "metrics"]
Entry = dict[str, object]


class ServerError(RuntimeError):
    """TorchServe did not start or did not load its models; the message holds what it said last."""


class TorchServe:
    """A running TorchServe, from `start` (or `with`) to `stop`.

    It serves the archives of `model_store` with the settings of the repository's config.properties and,
    over them, `settings` (TorchServe's own properties); on free ports, or with `usual_ports` on the file's
    where these are free. It asks for tokens if `authorize`. Logs and key file are in `folder`, by default a
    private one that goes with the server.
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
            **rooted(read_properties(CONFIG)),
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
        """Return the address that answers /predictions and /explanations."""
        return self.settings["inference_address"]

    @property
    def management_url(self) -> str:
        """Return the address that answers /models."""
        return self.settings["management_address"]

    @property
    def pid(self) -> int:
        """Return the process that leads the server's process group; ServerError while it is not running."""
        if self._process is None:
            raise ServerError("TorchServe is not running")
        return self._process.pid

    @property
    def folder(self) -> Path:
        """Return where the key file and the folder `logs` are; ServerError before the start."""
        if self._folder is None:
            raise ServerError("TorchServe was not started")
        return self._folder

    def start(self) -> None:
        """Return when every model is ready; where that fails, ServerError, and nothing is left running."""
        try:
            self._launch()
            self._await_models()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Return when the server and its workers are gone; harmless where it is not running."""
        process, self._process = self._process, None
        if process is not None:
            end_group(process)
            (self.folder / KEY_FILE).unlink(missing_ok=True)
        self._cleanup.close()

    def wait(self) -> None:
        """Return when the server ends by itself."""
        if self._process is not None:
            self._process.wait()

    def token(self, kind: str = "inference") -> str | None:
        """Return the token `inference`, `management` or `API` (it renews the others); None if none is asked."""
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
        """Return the reply of one of the server's addresses, asked with that address's token."""
        return send(self.settings[f"{api}_address"] + path, method, body, headers, self.token(api), timeout)

    def models(self) -> list[Entry]:
        """Return TorchServe's description of every version of every registered model."""
        listed = cast("dict[str, list[dict[str, str]]]", self._manage("/models?limit=1000"))["models"]
        names = sorted({model["modelName"] for model in listed})
        return [entry for name in names for entry in cast("list[Entry]", self._manage(f"/models/{quote(name)}/all"))]

    def log(self, lines: int = 40) -> str:
        """Return the last lines that the server and its workers printed, without the access log."""
        path = self.folder / "logs" / "server.log"
        said = path.read_text(errors="replace").splitlines() if path.exists() else []
        kept = [re.sub(r"^\S+ \[\w+ *\] W-\S+ MODEL_LOG - ", "", line) for line in said if "ACCESS_LOG" not in line]
        return "\n".join(kept[-lines:])

    def _manage(self, path: str) -> object:
        reply = self.request("GET", path, api="management", timeout=20)
        if reply.status != 200:
            raise ServerError(f"{path} was answered with {reply.status}: {reply.body.decode(errors='replace')}")
        return reply.json()

    def _launch(self) -> None:
        private = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="torchserve-")))
        self._folder = self._kept_folder or private
        logs, scratch = self._folder / "logs", private / "tmp"
        for folder in (logs, scratch):
            folder.mkdir(parents=True, exist_ok=True)
        config = private / "config.properties"
        vmargs = f"-Djava.io.tmpdir={scratch} {self.settings.get('vmargs', '')}".strip()
        write_properties(config, self.settings | {"vmargs": vmargs})
        output = self._cleanup.enter_context((logs / "server.log").open("wb"))
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "ts.model_server",
                "--start",
                "--foreground",
                "--ncs",
                "--ts-config",
                config,
            ],
            cwd=self._folder,
            env=environment(scratch, logs),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _await_models(self) -> None:
        deadline = time.monotonic() + self.timeout
        while not self._ready():
            if self._process is None or self._process.poll() is not None:
                raise ServerError(f"TorchServe ended while it was starting:\n{self.log()}")
            said = self.log(1000)
            if "Backend worker process died." in said:
                _, failed, why = said.partition("Failed to load model")
                raise ServerError(f"a model could not be loaded:\n{failed + why[:3000] or said[-3000:]}")
            if time.monotonic() > deadline:
                raise ServerError(f"TorchServe is not ready after {self.timeout:.0f} s:\n{self.log()}")
            time.sleep(0.1)

    def _ready(self) -> bool:
        try:
            models = self.models()
        except (OSError, HTTPException, ValueError):
            return False  # not listening yet, or the key file is half written
        archives = len(list(self.model_store.glob("*.mar"))) if self.settings.get("load_models") == "all" else 0
        if len(models) < archives:
            raise ServerError(f"of {archives} archives, {len(models)} were registered:\n{self.log()}")
        workers = [cast("list[dict[str, str]]", model["workers"]) for model in models]
        loaded = all(found and all(worker["status"] == "READY" for worker in found) for found in workers)
        return loaded and not any(is_free(port) for port in ports(self.settings))  # gRPC starts last


def rooted(properties: Mapping[str, str]) -> dict[str, str]:
    """Return the repository's properties with the metrics file's whole path, for a server started elsewhere."""
    return {**properties, "metrics_config": str(ROOT / properties["metrics_config"])}


def usual_ports_are_free() -> bool:
    """Return whether nothing listens on the ports of the repository's config.properties."""
    return all(is_free(port) for port in ports(read_properties(CONFIG)))
