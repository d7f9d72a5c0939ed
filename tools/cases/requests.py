"""Pictures and requests as clients send them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tools.cases import serving
from tools.cases.case import Case, check
from tools.cases.inputs import (
    archive_small,
    bare_logits,
    check_answer,
    check_refused,
    file_of,
    photograph,
    preprocessed_by_torchvision,
)
from tools.cases.tensors import tensors_of_the_open_inference_protocol
from tools.cases.workshop import InProcess, Workshop
from torchserve_saliency.images.image_formats import image_formats

FORM_FIELDS = ("file", "image", "img", "picture", "photo", "upload", "files[]", "Image_File", "anything")
JSON_FIELDS = ("image", "img", "b64", "image_b64", "photo", "anything")
SPELLINGS = {
    "gradcam": "grad_cam",
    "Grad-CAM": "grad_cam",
    "GradCAM++": "grad_cam_plus_plus",
    "IntegratedGradients": "integrated_gradients",
    "Integrated Gradients": "integrated_gradients",
    "ig": "integrated_gradients",
    "SmoothGrad": "smooth_grad",
    "scorecam": "score_cam",
    "Guided-BackProp": "guided_backprop",
    "InputXGradient": "gradient_x_input",
    "DeepLift": "deep_lift",
    "KernelShap": "kernel_shap",
    "vanilla gradient": "gradient",
}
NEAR = {"gradcamm": "grad_cam", "integratd-gradients": "integrated_gradients", "shap": "kernel_shap"}


def _setting(workshop: Workshop) -> tuple[InProcess, bytes, Mapping[str, float]]:
    """Return a handler, a picture file, and the logits of the bare network for it."""
    image = photograph()
    return workshop.handler(archive_small(workshop)), file_of(image), bare_logits(preprocessed_by_torchvision(image))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def other_names(workshop: Workshop) -> str:
    """D1: the picture is in a field with another name."""
    handler, data, expected = _setting(workshop)
    for name in FORM_FIELDS:
        check_answer(handler.ask({name: data, "target": b"rust"}), expected)
    for name in JSON_FIELDS:
        body = json.dumps({name: _text(data), "target": "rust"}).encode()
        check_answer(handler.ask({"body": body}, True, "", **{"content-type": "application/json"}), expected)
    other = file_of(photograph(seed=1))
    check_refused(handler.ask({"image": data, "file": other}), 400, "'image'", "'file'", "'data'")
    check_refused(handler.ask({"body": {"data": _text(data), "photo": _text(other)}}), 400, "'data'", "'photo'")
    check_refused(handler.ask({"imagee": b"hello"}), 400, "'data'")
    return f"taken under {len(FORM_FIELDS) + len(JSON_FIELDS)} names; two pictures: 400, both fields named"


def newer_formats(workshop: Workshop) -> str:
    """D2: AVIF if Pillow decodes it, HEIC if pillow-heif is installed."""
    handler, _, _ = _setting(workshop)
    image, answers = photograph(), []
    for name, encoder, header in (("AVIF", "AVIF", b"ftypavif"), ("HEIC", "HEIF", b"ftypheic")):
        if encoder not in image_formats():
            check_refused(handler.ask({"data": b"\0\0\0\x18" + header + bytes(48)}), 415, name)
            answers.append(f"{name}: 415, and the error names it")
            continue
        file = file_of(image, encoder, quality=100, **_COLOURS[encoder])
        check_answer(handler.ask({"data": file}), bare_logits(preprocessed_by_torchvision(image)), 0.02)
        check_refused(handler.ask({"data": file[: len(file) // 2]}), 415, name, "truncated")
        answers.append(f"{name} is read")
    return "; ".join(answers)


def spellings_of_methods(workshop: Workshop) -> str:
    """D3: a method is spelt as in other libraries."""
    handler, data, _ = _setting(workshop)
    for name, method in SPELLINGS.items():
        options = {"method": name, "render": "none"}
        answer = handler.ask({"data": data, **options})
        check(answer.status == 200, f"{name}: {answer.body}")
        given = answer.body["explanations"][0]["method"]
        check(given == method, f"{name} is read as {given}")
    for name, method in NEAR.items():
        message = check_refused(handler.ask({"data": data, "method": name}), 400, method)
        check(f"did you mean {method}" in message, f"{method} is not named first for {name}: {message}")
    return f"{len(SPELLINGS)} spellings taken; 'gradcamm': 400, did you mean grad_cam"


def instances_with_pictures(workshop: Workshop) -> str:
    """D7: instances as clients of TensorFlow Serving and KServe write them."""
    handler, data, expected = _setting(workshop)
    encoded: Any = {"b64": _text(data)}
    other, other_expected = photograph(seed=1), bare_logits(preprocessed_by_torchvision(photograph(seed=1)))
    for instance in (
        {"image": encoded},
        {"data": encoded},
        encoded,
        {"image_bytes": encoded},
        {"content": _text(data)},
        _text(data),
    ):
        for body in (
            {"instances": [instance, {"image": {"b64": _text(file_of(other))}}]},
            [instance, _text(file_of(other))],
        ):
            answer = handler.ask({"body": body})
            check(answer.status == 200, f"{str(instance)[:40]}: {answer.body}")
            first, second = answer.body["explanations"]
            check("predictions" in first, f"{str(instance)[:40]}: {first}")
            check_entry(first, expected)
            check_entry(second, other_expected)
    check_refused(handler.ask({"body": {"instances": {"data": _text(data)}}}), 400, "'instances'", "list")
    return "six ways to write an instance, with and without the field instances: an entry each, in their order"


def check_entry(entry: Mapping[str, Any], expected: Mapping[str, float]) -> None:
    """Raise AssertionError if an entry has other logits than those expected."""
    given = {each["label"]: each["logit"] for each in entry["predictions"]}
    worst = max(abs(given[label] - value) for label, value in expected.items())
    check(worst < 1e-4, f"the logits of an entry differ by {worst:g}")


def base64_in_a_form(workshop: Workshop) -> str:
    """D8: base64 text in a form field, in the ways that programs write it."""
    handler, data, expected = _setting(workshop)
    text = _text(data)
    ways = {
        "plain": text.encode(),
        "with line breaks": base64.encodebytes(data),
        "for URLs": base64.urlsafe_b64encode(data),
        "without padding": base64.urlsafe_b64encode(data).rstrip(b"="),
        "a data URL": f"data:image/png;base64,{text}".encode(),
        "with spaces for +": text.replace("+", " ").encode(),
        "in quotes": f'"{text}"'.encode(),
        "as Python prints bytes": repr(base64.b64encode(data)).encode(),
    }
    for name, value in ways.items():
        for field in ("data", "image"):
            answer = handler.ask({field: value})
            check(answer.status == 200, f"{name}, field {field}: {answer.body}")
            check_answer(answer, expected)
    check_refused(handler.ask({"data": text[: len(text) // 2].encode() + b"*" * 4}), 415, "not a picture")
    check_refused(handler.ask({"body": {"data": "https://example.org/owl.png"}}), 400, "no address is fetched")
    return f"taken: {', '.join(ways)}; a broken one: 415; an address: 400"


# all colours of the picture are kept, under the name that the encoder of the format has for it
_COLOURS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {"AVIF": {"subsampling": "4:4:4"}, "HEIF": {"chroma": 444}}
)

CASES: tuple[Case, ...] = (
    Case("D1", "the form field is called file, image, …; JSON has image, …", other_names),
    Case("D2", "AVIF and HEIC", newer_formats),
    Case("D3", "gradcam, Grad-CAM, IntegratedGradients, …", spellings_of_methods),
    Case("D4", "a browser's preflight, with tokens on", serving.preflight),
    Case("D5", "an overlay of 12 megapixels in its own space", serving.large_overlay),
    Case("D6", "KServe v2: shape [-1] with text, FP32 [C, H, W], …", tensors_of_the_open_inference_protocol),
    Case("D7", "KServe v1: instances with image and b64", instances_with_pictures),
    Case("D8", "base64 text in a form field", base64_in_a_form),
    Case("D9", "a long request on a busy machine", serving.limits_of_time),
    Case("D10", "config.properties of one's own, without our metrics file", serving.metrics_without_our_file),
)
