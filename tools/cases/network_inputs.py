"""C10 to C12: letterboxes, files of labels, and inputs of other numbers of channels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tools.cases.case import check
from tools.cases.inputs import check_refused, file_of, photograph
from tools.cases.own_network import (
    NET,
    SIDE,
    archive_own,
    array_of,
    check_near,
    check_not_archived,
    check_right,
    defined,
    seeded,
    slope,
)
from tools.cases.tensors import tensor
from tools.cases.workshop import Workshop
from torchserve_saliency.model.labels import read_labels

GREY = 114


def letterbox(workshop: Workshop) -> str:
    """C10: the longer side scaled, the rest padded; maps lie rightly on the picture."""
    network = seeded(defined(NET))
    server = workshop.handler(archive_own(workshop, NET, network.state_dict(), "--resize", SIDE, "--letterbox", "grey"))
    for size in ((64, 32), (24, 48), (8, 4), (50, 37)):
        image = photograph(size)
        values, crop = _letterboxed(image)
        answer = server.ask({"data": file_of(image), "target": 1})
        check(answer.status == 200, f"{answer.status}: {str(answer.body)[:300]}")
        check(np.allclose(answer.body["input"]["crop"], crop), f"crop {answer.body['input']['crop']}, not {crop}")
        given = {each["index"]: each["logit"] for each in answer.body["predictions"]}
        expected = network(values)[0].tolist()
        check_near(np.array([given[i] for i in range(3)]), np.array(expected), f"{size}: the logits")
        right = np.abs(slope(network, values, 1)).max(0)
        check_near(array_of(server, file_of(image), target=1), right, f"{size}: the gradient")
        if size in ((64, 32), (24, 48)):
            found = array_of(server, file_of(image), target=1, space="original")
            check_near(found, _projected(right, size), f"{size}: the map on the picture")
    return "input, crop and maps as by Pillow and interpolation of the padded square"


def _letterboxed(image: Image.Image) -> tuple[Tensor, list[float]]:
    """Return the input [1, 3, 16, 16] of a picture on a grey square, and the square in pixels of the picture."""
    scale = max(image.size) / SIDE
    small = image.resize([max(round(side / scale), 1) for side in image.size], Image.Resampling.BILINEAR)
    left, top = (SIDE - small.width) // 2, (SIDE - small.height) // 2
    square = Image.new("RGB", (SIDE, SIDE), (GREY,) * 3)
    square.paste(small, (left, top))
    across, down = image.width / small.width, image.height / small.height
    crop = [-left * across, -top * down, (SIDE - left) * across, (SIDE - top) * down]
    values = (torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.25
    return values, crop


def _projected(saliency: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return a map of the square at the size of the picture: the square is enlarged, and the padding cut off."""
    side = max(size)
    whole = F.interpolate(torch.from_numpy(saliency)[None, None], (side, side), mode="bilinear", align_corners=False)
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    found: NDArray[np.float32] = whole[0, 0, top : top + size[1], left : left + size[0]].numpy()
    return found


NAMES = ("tench", "goldfish", "great white shark")
FILES = {
    "config.json": {"model_type": "vit", "id2label": {"2": NAMES[2], "0": NAMES[0], "1": NAMES[1]}},
    "label2id.json": {"label2id": {NAMES[1]: 1, NAMES[0]: 0, NAMES[2]: 2}},
    "as_text.json": {"label2id": {NAMES[1]: "1", NAMES[0]: "0", NAMES[2]: "2"}},
    "list.json": list(NAMES),
    "index_to_name.json": {"1": ["n01443537", NAMES[1]], "0": ["n01440764", NAMES[0]], "2": ["n01484850", NAMES[2]]},
    "index.json": {"1": NAMES[1], "2": NAMES[2], "0": NAMES[0]},
    "class_to_idx.json": {NAMES[1]: 1, NAMES[0]: 0, NAMES[2]: 2},
    "names.txt": "\n".join(NAMES),
    "data.yaml": f"names:\n  1: {NAMES[1]}\n  0: {NAMES[0]}\n  2: {NAMES[2]}\n",
    "list.yml": "".join(f"- {name}\n" for name in NAMES),
    "bom.txt": "\ufeff" + "\r\n".join(NAMES) + "\r\n",
}


def files_of_labels(workshop: Workshop) -> str:
    """C11: the classes in config.json of Hugging Face, and in other files."""
    network = seeded(defined(NET))
    for name, value in FILES.items():
        path = workshop.write(name, value if isinstance(value, str) else json.dumps(value))
        check(read_labels(path) == NAMES, f"{name}: {read_labels(path)}")
    labels = workshop.folder / "config.json"
    server = workshop.handler(archive_own(workshop, NET, network.state_dict(), "--labels", labels))
    check_right(server, network)
    answer = server.ask({"data": file_of(photograph()), "target": "goldfish"})
    shown = {each["index"]: each["label"] for each in answer.body["predictions"]}
    check(shown == dict(enumerate(NAMES)), f"labels {shown}")
    check(answer.body["explanations"][0]["target"]["index"] == 1, "'goldfish' is not class 1")
    (workshop.folder / "net.mar").unlink()
    few = workshop.write("few.json", json.dumps({"id2label": {"0": "a", "1": "b"}}))
    message = check_not_archived(
        archive_own(workshop, NET, network.state_dict(), "--labels", few), "2 labels", "3 classes"
    )
    gap = workshop.write("wrong.json", json.dumps({"id2label": {"0": "a", "1": "b", "x": "c"}}))
    check_not_archived(archive_own(workshop, NET, network.state_dict(), "--labels", gap), "'x'", Path(gap).name)
    return f"{len(FILES)} files read; {message}"


BANDS = 7


def many_channels(workshop: Workshop) -> str:
    """C12: seven channels, asked by tensors; pictures are refused."""
    code = NET.replace("Conv2d(3,", f"Conv2d({BANDS},")
    network = seeded(defined(code))
    mean = ",".join(["0.5"] * BANDS)
    archived = archive_own(workshop, code, network.state_dict(), "--mean", mean, "--std", mean)
    server = workshop.handler(archived)
    values = torch.randn(2, BANDS, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    sent = tensor("FP32", list(values.shape), values.flatten().tolist())
    body = {"inputs": [sent], "parameters": {"target": 1, "reduce": "none"}}
    answer = server.ask({"body": body}, True, None)
    check(answer.status == 200, f"{answer.status}: {str(answer.body)[:300]}")
    outputs = {each["name"]: np.array(each["data"]).reshape(each["shape"]) for each in answer.body["outputs"]}
    found = outputs["saliency"].reshape(2, BANDS, SIDE, SIDE)
    for row in range(2):
        check_near(found[row], slope(network, values[row : row + 1], 1), f"the gradient of row {row}")
    message = check_refused(server.ask({"data": file_of(photograph())}), 422, "7", "FP32")
    (workshop.folder / "net.mar").unlink()
    check_not_archived(archive_own(workshop, code, network.state_dict()), "--mean", "--std", "7")
    return f"right by tensors; a picture: {message}"
