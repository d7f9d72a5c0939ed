"""The arguments of `archive`: each field of one dataclass is a flag of the command line."""

# ruff: noqa: RUF009 - every call of `flag` returns a field of its own

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torchserve_saliency.model.acceleration.compile_options import MODES
from torchserve_saliency.model.acceleration.precision import PRECISIONS
from torchserve_saliency.model.changes import ACTIVATIONS
from torchserve_saliency.model.logits import OutputKey
from torchserve_saliency_cli.archiving.flags import (
    LIMITS,
    Fill,
    activation,
    fill,
    flag,
    json_object,
    limits,
    numbers,
    output_key,
    paths,
    positive,
    share,
    sides,
    size,
)

WEIGHT_FILES = (".pt", ".pth", ".ckpt", ".bin", ".tar", ".safetensors")
NETWORK, INPUT, ARCHIVE = "network", "input (default: that of the weights)", "archive"
HEAD_ACTIVATIONS = (*ACTIVATIONS, "none")
_DEFAULT = " (default: %(default)s)"


class UsageError(Exception):
    """The command line is wrong. The message names the error and the allowed values."""


@dataclass(frozen=True)
class ArchiveArguments:
    """The archive that the command line asks for. A field is None if its flag was not given and has no default.

    `weights` holds the value of --weights or --serialized-file, `labels` the names in the file of labels, `head_labels`
    those in a file for each output, and `defaults` the options of requests that have a default in the archive.
    """

    defaults: Mapping[str, object]
    head_labels: Mapping[str, tuple[str, ...]]

    arch: str | None = flag(
        NETWORK,
        "torchvision classifier, timm:NAME, hf:FOLDER_OR_ID, torchhub:REPOSITORY:ENTRY, or openclip:NAME:WEIGHTS",
    )
    arguments: Mapping[str, object] = flag(
        NETWORK,
        "keyword arguments of the network's class or function, such as '{\"num_classes\": 5}'",
        type=json_object,
        default={},
        metavar="JSON",
    )
    model_file: Path | None = flag(NETWORK, "Python file with your own network, a class or a function", type=Path)
    class_: str | None = flag(
        NETWORK, "class or function of --model-file that makes the network (default: the one that fits)", metavar="NAME"
    )
    extra_files: tuple[Path, ...] = flag(
        NETWORK, "files and folders that --model-file or --handler import, separated by commas", type=paths, default=()
    )
    serialized_file: Path | None = flag(
        NETWORK, "weights for --model-file; without --model-file, a TorchScript network", type=Path
    )
    weights: str = flag(
        NETWORK, "DEFAULT, none (random, from --seed), a name, or a .pt, .pth, .ckpt or .safetensors file"
    )
    state: str | None = flag(
        NETWORK, "which weights of a checkpoint with several: a key, such as state_dict_ema, or a prefix", metavar="KEY"
    )
    head_activation: str | None = flag(
        NETWORK,
        f"activation between the linear layers of a head that replaced that of --arch: {', '.join(HEAD_ACTIVATIONS)}",
        choices=HEAD_ACTIVATIONS,
        metavar="NAME",
    )
    seed: int = flag(NETWORK, "seed of random weights" + _DEFAULT, type=int, default=0)
    num_classes: int | None = flag(NETWORK, "number of classes (default: that of the weights)", type=positive)
    labels: tuple[str, ...] | None = flag(
        NETWORK,
        "file of class names: text, JSON or YAML; for a network with several outputs OUTPUT=FILE,OUTPUT=FILE",
    )
    template: str = flag(
        NETWORK,
        "text of a class for a network that compares pictures with texts; {} is its label" + _DEFAULT,
        default="This is a photo of {}.",
    )
    activation: str | Mapping[str, str] | None = flag(
        NETWORK,
        "meaning of the outputs: softmax (one class is true; the default), sigmoid (each class is true or not; the "
        "default for a single output), none (the network puts out probabilities); or OUTPUT=NAME,OUTPUT=NAME",
        type=activation,
        metavar="NAME",
    )
    logits: OutputKey = flag(NETWORK, "key or position of the logits in the network's output", type=output_key)

    input_size: tuple[int, int] | None = flag(INPUT, "SIDE or HEIGHT,WIDTH of the network's input", type=size)
    resize: tuple[int, ...] | None = flag(
        INPUT, "SIDE (the shorter one) or HEIGHT,WIDTH before the centre crop", type=sides
    )
    interpolation: str | None = flag(INPUT, "bilinear, bicubic, nearest, lanczos, …")
    mean: tuple[float, ...] | None = flag(INPUT, "mean of the pixels in 0-1, one value per channel", type=numbers)
    std: tuple[float, ...] | None = flag(
        INPUT, "standard deviation of the pixels in 0-1, one value per channel", type=numbers
    )
    letterbox: Fill | None = flag(
        INPUT,
        "scale the longer side, and pad the rest with black, grey (114), white, mean, a level of 0-255, or one level "
        "per channel (default: black)",
        type=fill,
        nargs="?",
        const="black",
        metavar="FILL",
    )
    white: int | None = flag(
        INPUT,
        "level that is 1.0 in a grey picture of 16 bits, such as 4095 for 12 bits (default: 65535)",
        type=positive,
        metavar="LEVEL",
    )

    model_name: str = flag(ARCHIVE, "name of the model and of its .mar file", required=True)
    version: str = flag(ARCHIVE, "version of the model" + _DEFAULT, default="1.0")
    export_path: Path = flag(ARCHIVE, "folder for the archive" + _DEFAULT, type=Path, default=Path("model_store"))
    force: bool = flag(ARCHIVE, "overwrite an existing archive", "-f", action="store_true")
    archive_format: str = flag(
        ARCHIVE,
        "default is compressed; zip-store is not, and is written and read much faster" + _DEFAULT,
        default="default",
        choices=("default", "zip-store"),
    )
    directions: int = flag(
        ARCHIVE,
        "directions in which the self-check compares gradient and slope" + _DEFAULT,
        type=positive,
        default=5,
    )
    workers: int = flag(ARCHIVE, "processes, which share the cores or GPUs" + _DEFAULT, type=positive, default=1)
    batch_size: int = flag(ARCHIVE, "maximum number of requests in a batch" + _DEFAULT, type=positive, default=8)
    max_batch_delay: int = flag(
        ARCHIVE,
        "milliseconds to wait for a full batch; TorchServe treats 0 as 100" + _DEFAULT,
        type=positive,
        default=1,
    )
    response_timeout: int = flag(
        ARCHIVE,
        "seconds after which TorchServe ends a worker that has not answered a batch; three quarters of them after its "
        "start, requests that are still waiting are refused" + _DEFAULT,
        type=positive,
        default=120,
    )
    compile: str | None = flag(
        ARCHIVE,
        f"compile the network with torch.compile: {', '.join(MODES)}",
        nargs="?",
        const="default",
        choices=MODES,
        metavar="MODE",
    )
    precision: str = flag(ARCHIVE, "precision of autocast" + _DEFAULT, default="fp32", choices=PRECISIONS)
    limits: Mapping[str, object] = flag(
        ARCHIVE, f"limits of a request: {', '.join(LIMITS)}", type=limits, default={}, metavar="JSON"
    )
    handler: Path | None = flag(
        ARCHIVE, "Python file with a subclass of SaliencyHandler, in place of the handler itself", type=Path
    )
    requirements_file: Path | None = flag(
        ARCHIVE,
        "packages that TorchServe installs for the model if install_py_dep_per_model=true in its config.properties",
        type=Path,
    )
    check_folder: Path | None = flag(
        ARCHIVE, "folder of pictures in subfolders named after their classes: print the accuracy", type=Path
    )
    min_accuracy: float | None = flag(
        ARCHIVE, "refuse the archive if fewer of these pictures are right, such as 0.8", type=share
    )
    sanity: str = flag(
        ARCHIVE, "test whether the maps depend on the weights" + _DEFAULT, default="on", choices=("on", "off")
    )
    sanity_samples: Path | None = flag(
        ARCHIVE, "pictures for the sanity test (default: generated ones)", type=Path, metavar="FOLDER"
    )

    @property
    def mar(self) -> Path:
        """Return the path of the archive."""
        return self.export_path / f"{self.model_name}.mar"

    @property
    def scripted(self) -> bool:
        """Tell whether the file of weights is a TorchScript network."""
        return self.arch is None and self.model_file is None

    @property
    def random(self) -> bool:
        """Tell whether the weights are to be random."""
        return self.weights_file is None and self.weights.lower() == "none"

    @property
    def weights_file(self) -> Path | None:
        """Return the file of weights, or None if `weights` is a name; raise UsageError for a missing file."""
        path = Path(self.weights)
        if path.is_file():
            return path
        if path.suffix.lower() in WEIGHT_FILES or "/" in self.weights:
            raise UsageError(f"there is no file '{self.weights}'")
        return None
