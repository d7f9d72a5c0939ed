"""Section `pt2` of an archive, read as TorchServe's BaseHandler reads it."""

from __future__ import annotations

import pytest

from saliency.errors import ModelError
from saliency.pt2 import compile_options


@pytest.mark.parametrize(
    ("section", "options"),
    [
        (None, None),
        ({"compile": {"enable": False, "mode": "max-autotune"}}, None),
        ({"compile": {"enable": True}}, {}),
        (
            {"compile": {"enable": True, "backend": "inductor", "mode": "reduce-overhead"}},
            {"backend": "inductor", "mode": "reduce-overhead"},
        ),
        ({"compile": {"enable": True, "options": {"freezing": True}}}, {"options": {"freezing": True}}),
        ("aot_eager", {"backend": "aot_eager"}),
        ({"backend": "inductor", "dynamic": False}, {"backend": "inductor", "dynamic": False}),
    ],
)
def test_what_is_asked_for_is_what_torch_compile_gets(section: object, options: object) -> None:
    assert compile_options(section) == options


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ({"compile": {"enable": True, "mode": "fastest"}}, "no mode 'fastest', but default, reduce-overhead"),
        ({"compile": {"enable": True, "backend": "nvfuser"}}, "no backend 'nvfuser', but .*inductor"),
        ({"compile": {"enable": False, "mode": "fastest"}}, "no mode 'fastest'"),
        ({"compile": {"enable": True, "level": 3}}, "'pt2' of the archive's configuration has no 'level'"),
        ({"compile": {"mode": "default"}}, "is to say 'compile: {enable: true}'"),
        ({"compile": True}, "is to say 'compile: {enable: true}'"),
        ("tensorrt9", "no backend 'tensorrt9'"),
        ({"export": {"aot_compile": True}}, "exported program cannot be explained"),
        (3, "is to hold 'compile'"),
    ],
)
def test_what_is_unknown_is_a_model_error(section: object, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        compile_options(section)
