"""Captured attention matrices: those that the network computes in any form, with their gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack
from torchvision.models import VisionTransformer

from tests.networks import Modules, Tokens, inputs, made
from torchserve_saliency.propagation.attention_capture import Attention

HEADS = 2


def run_with_capture(network: nn.Module, x: Tensor, captures: bool = False) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Return the logits and the attention matrices of a network."""
    with torch.set_grad_enabled(captures), Attention(captures).around(len(x)) as found:
        return network(x), found


def tiny_vit() -> nn.Module:
    """Return a small vision transformer of torchvision; its head, zero initially, gets random weights."""
    vit = VisionTransformer(16, 4, num_layers=3, num_heads=HEADS, hidden_dim=12, mlp_dim=24, num_classes=5)
    nn.init.normal_(vit.get_parameter("heads.head.weight"))
    return vit


def qkv(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key and value [3, heads, 6, 4]."""
    generator = torch.Generator().manual_seed(5)
    q, k, v = torch.randn(3, 3, HEADS, 6, 4, generator=generator, dtype=dtype)
    return q, k, v


def scores(q: Tensor, k: Tensor) -> Tensor:
    return torch.einsum("nhie,nhje->nhij", q, k) / 2  # √4 of the features


FORMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "fused": lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
    "F": lambda q, k, v: F.softmax(scores(q, k), dim=-1) @ v,
    "torch": lambda q, k, v: torch.softmax(scores(q, k), -1) @ v,
    "special": lambda q, k, v: torch.special.softmax(input=scores(q, k), dim=3) @ v,
    "method": lambda q, k, v: scores(q, k).softmax(3) @ v,
    "module": lambda q, k, v: nn.Softmax(-1)(scores(q, k)) @ v,
    "flat": lambda q, k, v: (scores(q, k).flatten(0, 1).softmax(-1) @ v.flatten(0, 1)).view_as(v),
    "in place afterwards": lambda q, k, v: (scores(q, k).softmax(-1).mul_(2) @ v) / 2,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_attention_is_captured_with_its_gradient(form: str) -> None:
    q, k, v = qkv()
    weights = torch.randn(v.shape, generator=torch.Generator().manual_seed(6), dtype=v.dtype)
    with Attention(captures=True).around(3) as found:
        output = FORMS[form](q, k, v)
    expected = scores(q, k).softmax(-1)
    torch.testing.assert_close(output, expected @ v)
    torch.testing.assert_close(dict(found), {"attention 0": expected})
    (gradient,) = torch.autograd.grad((output * weights).sum(), found["attention 0"])
    torch.testing.assert_close(gradient, weights @ v.transpose(2, 3))


@pytest.mark.parametrize(
    "options",
    [
        {"scale": 0.3},
        {"is_causal": True},
        {"attn_mask": torch.arange(36).view(6, 6) % 4 < 3},
        {"attn_mask": torch.linspace(-2, 2, 36).double().view(6, 6)},
        {"enable_gqa": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_the_options_of_fused_attention_are_applied(options: dict[str, object]) -> None:
    q, k, v = qkv()
    if "enable_gqa" in options:
        if "enable_gqa" not in str(F.scaled_dot_product_attention.__doc__):
            pytest.skip("this PyTorch has no grouped-query attention")
        k, v = k[:, :1], v[:, :1]
    expected = F.scaled_dot_product_attention(q, k, v, **options)  # type: ignore[arg-type]
    with Attention().around(3) as found:
        torch.testing.assert_close(F.scaled_dot_product_attention(q, k, v, **options), expected)  # type: ignore[arg-type]
    assert found["attention 0"].shape == (3, HEADS, 6, 6)


def test_softmax_outside_of_attention_is_not_captured() -> None:
    x = inputs(2)
    with Attention().around(2) as found:
        x.softmax(1), x.mean((2, 3)).softmax(-1), F.softmax(x[:, :, 0, :5], dim=-1), x[..., :1].softmax(-1)
    assert not found


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_attention_inside_multi_head_attention_is_captured(need_weights: bool, batch_first: bool) -> None:
    module = made(lambda: nn.MultiheadAttention(12, HEADS, batch_first=batch_first), dtype=torch.float64)
    tokens = torch.randn(3, 6, 12, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    query = tokens if batch_first else tokens.transpose(0, 1)
    mask = torch.ones(6, 6, dtype=torch.bool).triu(1)
    expected, weights = module(query, query, query, attn_mask=mask, average_attn_weights=False)
    with Attention(captures=True).around(3) as found:
        output, returned = module(query, query, query, attn_mask=mask, need_weights=need_weights)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(dict(found), {"attention 0": weights})
    assert (returned is not None) == need_weights
    assert torch.autograd.grad(output[0, 0].sum(), found["attention 0"])[0].any()


@pytest.mark.parametrize("make", [Tokens, tiny_vit])
def test_logits_are_those_without_the_capture(make: Callable[[], nn.Module]) -> None:
    network, x = made(make, dtype=torch.float64), inputs(3, dtype=torch.float64)
    for captures in (False, True):
        logits, _ = run_with_capture(network, x, captures)
        torch.testing.assert_close(logits, network(x), rtol=1e-10, atol=1e-10)


def test_matrices_of_torchvision_are_those_that_its_modules_return() -> None:
    vit, x = made(tiny_vit, dtype=torch.float64), inputs(2, dtype=torch.float64)
    expected = []

    def keep(module: nn.Module, args: tuple[Tensor, ...], output: object) -> None:
        expected.append(module.forward(*args, need_weights=True, average_attn_weights=False)[1])

    hooks = [m.register_forward_hook(keep) for m in vit.modules() if isinstance(m, nn.MultiheadAttention)]
    vit(x)
    for hook in hooks:
        hook.remove()
    _, found = run_with_capture(vit, x)
    assert list(found) == ["attention 0", "attention 1", "attention 2"]
    torch.testing.assert_close(list(found.values()), expected)


@pytest.mark.parametrize("arch", ["deit_tiny_patch16_224", "vit_tiny_patch16_224"])
def test_matrices_of_timm_are_those_of_its_unfused_attention(arch: str) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    network = made(lambda: timm.create_model(arch, img_size=64, depth=2))
    x, expected = inputs(2, size=64), []
    logits, found = run_with_capture(network, x)
    torch.testing.assert_close(logits, network(x), rtol=1e-5, atol=1e-5)
    for block in network.blocks:  # type: ignore[union-attr]
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda module, args, output: expected.append(output))
    network(x)
    torch.testing.assert_close(list(found.values()), expected)
    torch.testing.assert_close(dict(run_with_capture(network, x)[1]), dict(found))


def test_gradients_are_those_of_finite_differences() -> None:
    """Compare the gradient of single entries of the matrices with the change of a logit."""
    vit, x = made(tiny_vit, dtype=torch.float64), inputs(1, dtype=torch.float64)
    logits, found = run_with_capture(vit, x, captures=True)
    gradients = torch.autograd.grad(logits[0, 2], list(found.values()))
    for layer, gradient in enumerate(gradients):
        for entry in ((0, 0, 0, 3), (0, 1, 0, 7), (0, 1, 5, 2)):
            high, low = (logits_after_change(vit, x, layer, entry, step)[0, 2] for step in (1e-5, -1e-5))
            assert float(gradient[entry]) == pytest.approx(float(high - low) / 2e-5, rel=1e-4, abs=1e-9)


def logits_after_change(vit: nn.Module, x: Tensor, layer: int, entry: tuple[int, ...], step: float) -> Tensor:
    """Return the logits of torchvision's network after adding `step` to one entry of a layer's matrix."""
    assert isinstance(vit, VisionTransformer)
    tokens = torch.cat([vit.class_token.expand(len(x), -1, -1), vit._process_input(x)], 1) + vit.encoder.pos_embedding
    for i, block in enumerate(vit.encoder.layers):
        attention, t = block.self_attention, block.ln_1(tokens)
        q, k, v = (t @ attention.in_proj_weight.T + attention.in_proj_bias).view(*t.shape[:2], 3, HEADS, -1).unbind(2)
        matrix = (torch.einsum("nihe,njhe->nhij", q, k) / q.shape[-1] ** 0.5).softmax(-1)
        if i == layer:
            matrix[entry] += step
        mixed = attention.out_proj(torch.einsum("nhij,njhe->nihe", matrix, v).flatten(2))
        tokens = tokens + mixed
        tokens = tokens + block.mlp(block.ln_2(tokens))
    return vit.heads(vit.encoder.ln(tokens)[:, 0])


def test_nothing_before_the_first_attention_is_in_the_graph() -> None:
    class KeepingPatches(Tokens):
        def forward(self, x: Tensor) -> Tensor:
            self.patch_output = self.patches(x)
            return super().forward(x)

    network = made(KeepingPatches)
    logits, found = run_with_capture(network, inputs(1), captures=True)
    assert isinstance(network, KeepingPatches)
    assert not network.patch_output.requires_grad
    assert found["attention 0"].is_leaf
    assert logits.requires_grad


def test_the_mode_is_removed_after_success_and_failure() -> None:
    class Failing(Tokens):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            raise ZeroDivisionError

    run_with_capture(made(Tokens), inputs())
    with pytest.raises(ZeroDivisionError):
        run_with_capture(made(Failing), inputs())
    assert not _get_current_function_mode_stack()
    _, found = run_with_capture(made(Modules), inputs())
    made(Tokens)(inputs())
    assert not found
