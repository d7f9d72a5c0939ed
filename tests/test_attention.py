"""Attention matrices listened to: in every spelling those that the network uses, and on the gradient's way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack
from torchvision.models import VisionTransformer

from saliency.attention import Attention
from saliency.rows import Tapped
from tests.networks import Modules, Tokens, inputs, made

HEADS = 2


def listened(network: nn.Module, x: Tensor, taps: bool = False) -> tuple[Tensor, Tapped]:
    """Return a network's logits and its attention matrices."""
    with torch.set_grad_enabled(taps), Attention(taps).around(len(x)) as found:
        return network(x), found


def tiny_vit() -> nn.Module:
    """Return torchvision's vision transformer in little; its head, which starts at zero, is drawn."""
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


SPELLINGS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "fused": lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
    "F": lambda q, k, v: F.softmax(scores(q, k), dim=-1) @ v,
    "torch": lambda q, k, v: torch.softmax(scores(q, k), -1) @ v,
    "special": lambda q, k, v: torch.special.softmax(input=scores(q, k), dim=3) @ v,
    "method": lambda q, k, v: scores(q, k).softmax(3) @ v,
    "module": lambda q, k, v: nn.Softmax(-1)(scores(q, k)) @ v,
    "flat": lambda q, k, v: (scores(q, k).flatten(0, 1).softmax(-1) @ v.flatten(0, 1)).view_as(v),
    "in place afterwards": lambda q, k, v: (scores(q, k).softmax(-1).mul_(2) @ v) / 2,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_heard_and_its_gradient_is_that_of_the_matrix_in_use(spelling: str) -> None:
    q, k, v = qkv()
    weights = torch.randn(v.shape, generator=torch.Generator().manual_seed(6), dtype=v.dtype)
    with Attention(taps=True).around(3) as found:
        output = SPELLINGS[spelling](q, k, v)
    expected = scores(q, k).softmax(-1)
    torch.testing.assert_close(output, expected @ v)
    torch.testing.assert_close(dict(found), {"attention 0": expected})
    (slope,) = torch.autograd.grad((output * weights).sum(), found["attention 0"])
    torch.testing.assert_close(slope, weights @ v.transpose(2, 3))


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
def test_the_options_of_fused_attention_are_followed(options: dict[str, object]) -> None:
    q, k, v = qkv()
    if "enable_gqa" in options:
        if "enable_gqa" not in str(F.scaled_dot_product_attention.__doc__):
            pytest.skip("this PyTorch knows no grouped queries")
        k, v = k[:, :1], v[:, :1]
    wanted = F.scaled_dot_product_attention(q, k, v, **options)  # type: ignore[arg-type]
    with Attention().around(3) as found:
        torch.testing.assert_close(F.scaled_dot_product_attention(q, k, v, **options), wanted)  # type: ignore[arg-type]
    assert found["attention 0"].shape == (3, HEADS, 6, 6)


def test_what_is_no_attention_is_not_heard() -> None:
    x = inputs(2)
    with Attention().around(2) as found:
        x.softmax(1), x.mean((2, 3)).softmax(-1), F.softmax(x[:, :, 0, :5], dim=-1), x[..., :1].softmax(-1)
    assert not found


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_multi_head_attention_is_heard_inside(need_weights: bool, batch_first: bool) -> None:
    module = made(lambda: nn.MultiheadAttention(12, HEADS, batch_first=batch_first), dtype=torch.float64)
    tokens = torch.randn(3, 6, 12, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    own = tokens if batch_first else tokens.transpose(0, 1)
    mask = torch.ones(6, 6, dtype=torch.bool).triu(1)
    wanted, weights = module(own, own, own, attn_mask=mask, average_attn_weights=False)
    with Attention(taps=True).around(3) as found:
        output, given = module(own, own, own, attn_mask=mask, need_weights=need_weights)
    torch.testing.assert_close(output, wanted)
    torch.testing.assert_close(dict(found), {"attention 0": weights})
    assert (given is not None) == need_weights
    assert torch.autograd.grad(output[0, 0].sum(), found["attention 0"])[0].any()


@pytest.mark.parametrize("make", [Tokens, tiny_vit])
def test_logits_are_those_of_the_network_alone(make: Callable[[], nn.Module]) -> None:
    network, x = made(make, dtype=torch.float64), inputs(3, dtype=torch.float64)
    for taps in (False, True):
        logits, _ = listened(network, x, taps)
        torch.testing.assert_close(logits, network(x), rtol=1e-10, atol=1e-10)


def test_matrices_of_torchvision_are_those_of_its_own_modules() -> None:
    vit, x = made(tiny_vit, dtype=torch.float64), inputs(2, dtype=torch.float64)
    wanted = []

    def keep(module: nn.Module, args: tuple[Tensor, ...], output: object) -> None:
        wanted.append(module.forward(*args, need_weights=True, average_attn_weights=False)[1])

    hooks = [m.register_forward_hook(keep) for m in vit.modules() if isinstance(m, nn.MultiheadAttention)]
    vit(x)
    for hook in hooks:
        hook.remove()
    _, found = listened(vit, x)
    assert list(found) == ["attention 0", "attention 1", "attention 2"]
    torch.testing.assert_close(list(found.values()), wanted)


@pytest.mark.parametrize("arch", ["deit_tiny_patch16_224", "vit_tiny_patch16_224"])
def test_matrices_of_timm_are_those_that_it_softens_itself(arch: str) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    network = made(lambda: timm.create_model(arch, img_size=64, depth=2))
    x, wanted = inputs(2, size=64), []
    logits, found = listened(network, x)
    torch.testing.assert_close(logits, network(x), rtol=1e-5, atol=1e-5)
    for block in network.blocks:  # type: ignore[union-attr]
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda module, args, output: wanted.append(output))
    network(x)
    torch.testing.assert_close(list(found.values()), wanted)
    torch.testing.assert_close(dict(listened(network, x)[1]), dict(found))


def test_gradients_are_those_of_finite_differences() -> None:
    """Nudges one entry of one matrix after another, and sees what becomes of the logit."""
    vit, x = made(tiny_vit, dtype=torch.float64), inputs(1, dtype=torch.float64)
    logits, found = listened(vit, x, taps=True)
    slopes = torch.autograd.grad(logits[0, 2], list(found.values()))
    for layer, slope in enumerate(slopes):
        for where in ((0, 0, 0, 3), (0, 1, 0, 7), (0, 1, 5, 2)):
            high, low = (nudged(vit, x, layer, where, step)[0, 2] for step in (1e-5, -1e-5))
            assert float(slope[where]) == pytest.approx(float(high - low) / 2e-5, rel=1e-4, abs=1e-9)


def nudged(vit: nn.Module, x: Tensor, layer: int, where: tuple[int, ...], step: float) -> Tensor:
    """Return the logits of torchvision's network with one entry of a layer's matrix moved by `step`."""
    assert isinstance(vit, VisionTransformer)
    tokens = torch.cat([vit.class_token.expand(len(x), -1, -1), vit._process_input(x)], 1) + vit.encoder.pos_embedding
    for i, block in enumerate(vit.encoder.layers):
        attention, t = block.self_attention, block.ln_1(tokens)
        q, k, v = (t @ attention.in_proj_weight.T + attention.in_proj_bias).view(*t.shape[:2], 3, HEADS, -1).unbind(2)
        matrix = (torch.einsum("nihe,njhe->nhij", q, k) / q.shape[-1] ** 0.5).softmax(-1)
        if i == layer:
            matrix[where] += step
        mixed = attention.out_proj(torch.einsum("nhij,njhe->nihe", matrix, v).flatten(2))
        tokens = tokens + mixed
        tokens = tokens + block.mlp(block.ln_2(tokens))
    return vit.heads(vit.encoder.ln(tokens)[:, 0])


def test_nothing_before_the_first_attention_is_in_the_graph() -> None:
    class Watched(Tokens):
        def forward(self, x: Tensor) -> Tensor:
            self.early = self.patches(x)
            return super().forward(x)

    network = made(Watched)
    logits, found = listened(network, inputs(1), taps=True)
    assert isinstance(network, Watched)
    assert not network.early.requires_grad
    assert found["attention 0"].is_leaf
    assert logits.requires_grad


def test_the_mode_is_gone_after_success_and_failure() -> None:
    class Failing(Tokens):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            raise ZeroDivisionError

    listened(made(Tokens), inputs())
    with pytest.raises(ZeroDivisionError):
        listened(made(Failing), inputs())
    assert not _get_current_function_mode_stack()
    _, found = listened(made(Modules), inputs())
    made(Tokens)(inputs())
    assert not found
