"""Section `pt2` of an archive, which has the format of TorchServe's BaseHandler."""

from __future__ import annotations

import pytest

from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.acceleration.compile_options import compile_options


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
def test_torch_compile_receives_the_options_of_the_section(section: object, options: object) -> None:
    assert compile_options(section) == options


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ({"compile": {"enable": True, "mode": "fastest"}}, "no mode 'fastest'; its modes are default, reduce-overhead"),
        ({"compile": {"enable": True, "backend": "nvfuser"}}, "no backend 'nvfuser'; its backends are .*inductor"),
        ({"compile": {"enable": False, "mode": "fastest"}}, "no mode 'fastest'"),
        ({"compile": {"enable": True, "level": 3}}, "'pt2' of the archive's configuration has no option 'level'"),
        ({"compile": {"mode": "default"}}, "must contain 'compile: {enable: true}'"),
        ({"compile": True}, "must contain 'compile: {enable: true}'"),
        ("tensorrt9", "no backend 'tensorrt9'"),
        ({"export": {"aot_compile": True}}, "exported program cannot be explained"),
        (3, "must have the key 'compile'"),
    ],
)
def test_an_invalid_section_is_a_model_error(section: object, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        compile_options(section)
