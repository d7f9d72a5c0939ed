"""The comparison of a soak's answers accepts rounding and reports every other difference."""

from __future__ import annotations

import base64
import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image

from tools.soak.comparison import faults
from torchserve_saliency_cli.client.transport import Reply


def reply(body: bytes, content_type: str = "application/json", status: int = 200) -> Reply:
    return Reply(status, httpx.Headers({"Content-Type": content_type}), body)


def json_reply(value: object) -> Reply:
    return reply(json.dumps(value).encode())


def npy(values: np.ndarray, metadata: str | None = None) -> Reply:
    file = io.BytesIO()
    np.save(file, values)
    answer = reply(file.getvalue(), "application/x-npy")
    if metadata is not None:
        answer.headers["Saliency-Metadata"] = metadata
    return answer


def png(level: int, size: tuple[int, int] = (4, 4)) -> bytes:
    file = io.BytesIO()
    Image.new("L", size, level).save(file, "PNG")
    return file.getvalue()


def png_with_square(side: int, levels: int = 200) -> bytes:
    """Return a black PNG of 224 by 224 pixels with a green square."""
    file = io.BytesIO()
    pixels = np.zeros((224, 224, 3), np.uint8)
    pixels[:side, :side, 1] = levels
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def base64_png(level: int) -> str:
    return base64.b64encode(png(level)).decode()


MAP = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 8, 8)
SAME: list[tuple[Reply, Reply]] = [
    (json_reply({"cat": 0.5, "dog": 0.25}), json_reply({"cat": 0.50001, "dog": 0.25})),
    (json_reply({"model": {"version": "1.0"}}), json_reply({"model": {"version": "2.0"}})),
    (json_reply({"saliency": {"data": base64_png(100)}}), json_reply({"saliency": {"data": base64_png(101)}})),
    (json_reply({"data": [0, 1.5, -2e-7]}), json_reply({"data": [1e-7, 1.5, 0]})),
    (json_reply({"data": ['{"score": 1.5}']}), json_reply({"data": ['{"score": 1.50001}']})),
    (npy(MAP), npy(MAP + np.float32(2e-5))),
    (npy(MAP, '{"logit": 1.5}'), npy(MAP, '{"logit": 1.50001}')),
    (reply(png(7), "image/png"), reply(png(8), "image/png")),
    (reply(png_with_square(0), "image/png"), reply(png_with_square(10), "image/png")),
    (reply(png_with_square(0), "image/png"), reply(png_with_square(100, 14), "image/png")),
    (reply(b"", status=413), reply(b"", status=413)),
]
OTHER: list[tuple[Reply, Reply]] = [
    (json_reply({"cat": 0.5, "dog": 0.25}), json_reply({"cat": 0.25, "dog": 0.5})),
    (json_reply({"cat": 0.5}), json_reply({"dog": 0.5})),
    (json_reply([1, 2]), json_reply([1, 2, 3])),
    (json_reply({"index": 1}), json_reply({"index": 2})),
    (json_reply({"ok": True}), json_reply({"ok": False})),
    (json_reply({"saliency": {"data": base64_png(100)}}), json_reply({"saliency": {"data": base64_png(120)}})),
    (json_reply({"data": [0, 1.5]}), json_reply({"data": [0.5, 1.5]})),
    (json_reply({"data": ['{"score": 1.5}']}), json_reply({"data": ['{"score": 2.5}']})),
    (json_reply({"label": "cat"}), json_reply({"label": "dog"})),
    (npy(MAP), npy(MAP + np.float32(1e-3))),
    (npy(MAP), npy(MAP[..., :4])),
    (npy(MAP), npy(MAP.astype(np.float64))),
    (npy(MAP), npy(np.where(MAP > 0.9, np.float32("nan"), MAP))),
    (npy(MAP), npy(np.full_like(MAP, np.nan))),
    (npy(MAP), npy(np.where(MAP > 0.9, np.float32("inf"), MAP))),
    (npy(MAP, '{"logit": 1.5}'), npy(MAP, '{"logit": 2.5}')),
    (npy(MAP, '{"logit": 1.5}'), npy(MAP)),
    (json_reply({"score": 1.5}), reply(b'{"score": NaN}')),
    (json_reply({"index": 1000}), json_reply({"index": 1001})),
    (reply(png_with_square(0), "image/png"), reply(png_with_square(28), "image/png")),
    (
        json_reply({"data": base64.b64encode(png_with_square(0)).decode()}),
        json_reply({"data": base64.b64encode(png_with_square(28)).decode()}),
    ),
    (reply(png(7), "image/png"), reply(png(90), "image/png")),
    (reply(png(7), "image/png"), reply(png(7, (5, 5)), "image/png")),
    (json_reply({"code": 400}), reply(b'{"code": 500}', status=500)),
    (json_reply({}), npy(MAP)),
]


@pytest.mark.parametrize("pair", SAME)
def test_rounding_is_accepted(pair: tuple[Reply, Reply]) -> None:
    assert faults(*pair) == []


@pytest.mark.parametrize("pair", OTHER)
def test_a_different_answer_is_wrong(pair: tuple[Reply, Reply]) -> None:
    assert len(faults(*pair)) >= 1


UNREADABLE: list[tuple[Reply, Reply]] = [
    (json_reply({"cat": 0.5}), reply(b'{"cat": 0.')),
    (json_reply({"cat": 0.5}), reply(b"")),
    (json_reply({"saliency": {"data": base64_png(100)}}), json_reply({"saliency": {"data": "x"}})),
    (json_reply({"data": ['{"data": "AAAA"}']}), json_reply({"data": ['{"data": "AAAB"}']})),
    (npy(MAP), reply(npy(MAP).body[:-9], "application/x-npy")),
    (npy(MAP), reply(b"not an array", "application/x-npy")),
    (npy(MAP), reply(b"", "application/x-npy")),
    (npy(MAP, "{}"), npy(MAP, "{")),
    (reply(png(7), "image/png"), reply(png(7)[:-30], "image/png")),
    (reply(png(7), "image/png"), reply(b"not a picture", "image/png")),
]


@pytest.mark.parametrize("pair", UNREADABLE)
def test_an_answer_that_cannot_be_read_is_wrong(pair: tuple[Reply, Reply]) -> None:
    (fault,) = faults(*pair)
    assert fault.startswith("cannot be read: ")
