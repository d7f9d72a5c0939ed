"""What tells a right answer of a soak from a wrong one."""

from __future__ import annotations

import base64
import io
import json
from email.message import Message

import numpy as np
import pytest
from PIL import Image

from scripts.soaking.comparing import faults
from scripts.wire import Reply


def reply(body: bytes, content_type: str = "application/json", status: int = 200) -> Reply:
    headers = Message()
    headers["Content-Type"] = content_type
    return Reply(status, headers, body)


def said(value: object) -> Reply:
    return reply(json.dumps(value).encode())


def npy(values: np.ndarray, metadata: str | None = None) -> Reply:
    file = io.BytesIO()
    np.save(file, values)
    found = reply(file.getvalue(), "application/x-npy")
    if metadata is not None:
        found.headers["Saliency-Metadata"] = metadata
    return found


def png(level: int, size: tuple[int, int] = (4, 4)) -> bytes:
    file = io.BytesIO()
    Image.new("L", size, level).save(file, "PNG")
    return file.getvalue()


def squared(side: int, levels: int = 200) -> bytes:
    """Return a picture of 224 by 224 pixels with a square in it."""
    file = io.BytesIO()
    pixels = np.zeros((224, 224, 3), np.uint8)
    pixels[:side, :side, 1] = levels
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def text(level: int) -> str:
    return base64.b64encode(png(level)).decode()


MAP = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 8, 8)
SAME: list[tuple[Reply, Reply]] = [
    (said({"cat": 0.5, "dog": 0.25}), said({"cat": 0.50001, "dog": 0.25})),
    (said({"model": {"version": "1.0"}}), said({"model": {"version": "2.0"}})),
    (said({"saliency": {"data": text(100)}}), said({"saliency": {"data": text(101)}})),
    (said({"data": [0, 1.5, -2e-7]}), said({"data": [1e-7, 1.5, 0]})),
    (said({"data": ['{"score": 1.5}']}), said({"data": ['{"score": 1.50001}']})),
    (npy(MAP), npy(MAP + np.float32(2e-5))),
    (npy(MAP, '{"logit": 1.5}'), npy(MAP, '{"logit": 1.50001}')),
    (reply(png(7), "image/png"), reply(png(8), "image/png")),
    (reply(squared(0), "image/png"), reply(squared(10), "image/png")),
    (reply(squared(0), "image/png"), reply(squared(100, 14), "image/png")),
    (reply(b"", status=413), reply(b"", status=413)),
]
OTHER: list[tuple[Reply, Reply]] = [
    (said({"cat": 0.5, "dog": 0.25}), said({"cat": 0.25, "dog": 0.5})),
    (said({"cat": 0.5}), said({"dog": 0.5})),
    (said([1, 2]), said([1, 2, 3])),
    (said({"index": 1}), said({"index": 2})),
    (said({"ok": True}), said({"ok": False})),
    (said({"saliency": {"data": text(100)}}), said({"saliency": {"data": text(120)}})),
    (said({"data": [0, 1.5]}), said({"data": [0.5, 1.5]})),
    (said({"data": ['{"score": 1.5}']}), said({"data": ['{"score": 2.5}']})),
    (said({"label": "cat"}), said({"label": "dog"})),
    (npy(MAP), npy(MAP + np.float32(1e-3))),
    (npy(MAP), npy(MAP[..., :4])),
    (npy(MAP), npy(MAP.astype(np.float64))),
    (npy(MAP), npy(np.where(MAP > 0.9, np.float32("nan"), MAP))),
    (npy(MAP), npy(np.full_like(MAP, np.nan))),
    (npy(MAP), npy(np.where(MAP > 0.9, np.float32("inf"), MAP))),
    (npy(MAP, '{"logit": 1.5}'), npy(MAP, '{"logit": 2.5}')),
    (npy(MAP, '{"logit": 1.5}'), npy(MAP)),
    (said({"score": 1.5}), reply(b'{"score": NaN}')),
    (said({"index": 1000}), said({"index": 1001})),
    (reply(squared(0), "image/png"), reply(squared(28), "image/png")),
    (said({"data": base64.b64encode(squared(0)).decode()}), said({"data": base64.b64encode(squared(28)).decode()})),
    (reply(png(7), "image/png"), reply(png(90), "image/png")),
    (reply(png(7), "image/png"), reply(png(7, (5, 5)), "image/png")),
    (said({"code": 400}), reply(b'{"code": 500}', status=500)),
    (said({}), npy(MAP)),
]


@pytest.mark.parametrize("pair", SAME)
def test_rounding_is_not_wrong(pair: tuple[Reply, Reply]) -> None:
    assert faults(*pair) == []


@pytest.mark.parametrize("pair", OTHER)
def test_another_answer_is_wrong(pair: tuple[Reply, Reply]) -> None:
    assert len(faults(*pair)) >= 1


UNREADABLE: list[tuple[Reply, Reply]] = [
    (said({"cat": 0.5}), reply(b'{"cat": 0.')),
    (said({"cat": 0.5}), reply(b"")),
    (said({"saliency": {"data": text(100)}}), said({"saliency": {"data": "x"}})),
    (said({"data": ['{"data": "AAAA"}']}), said({"data": ['{"data": "AAAB"}']})),
    (npy(MAP), reply(npy(MAP).body[:-9], "application/x-npy")),
    (npy(MAP), reply(b"no array", "application/x-npy")),
    (npy(MAP), reply(b"", "application/x-npy")),
    (npy(MAP, "{}"), npy(MAP, "{")),
    (reply(png(7), "image/png"), reply(png(7)[:-30], "image/png")),
    (reply(png(7), "image/png"), reply(b"no picture", "image/png")),
]


@pytest.mark.parametrize("pair", UNREADABLE)
def test_an_answer_that_cannot_be_read_is_wrong(pair: tuple[Reply, Reply]) -> None:
    (fault,) = faults(*pair)
    assert fault.startswith("cannot be read: ")
