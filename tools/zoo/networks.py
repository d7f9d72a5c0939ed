"""The networks of the zoo: every classifier of torchvision, and one of each family of timm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from torchserve_saliency.model.architectures import TIMM, torchvision_names

# the smallest network of each family that torchvision does not have; no test networks
FAMILIES: Sequence[str] = (
    *("resnet10t", "skresnet18", "resnest14d", "res2net50_48w_2s", "resnetv2_18", "starnet_s050", "cspnext_tiny"),
    *("ese_vovnet19b_slim_dw", "dla46x_c", "hrnet_w18_small", "densenetblur121d", "cs3darknet_focus_s", "repvgg_a0"),
    *("eca_nfnet_l0", "mnasnet_small", "mobilenetv3_small_050", "lcnet_035", "mobilenetv4_conv_small_035"),
    *("ghostnet_050", "repghostnet_050", "rexnet_100", "hgnetv2_b0", "regnetx_002", "inception_resnet_v2"),
    *("legacy_xception", "rdnet_tiny", "fasternet_t0", "convnext_zepto_rms", "convnextv2_atto"),
    *("inception_next_atto", "focalnet_tiny_srf", "mambaout_femto", "poolformer_s12", "caformer_s18"),
    *("eca_halonext26ts", "visformer_tiny", "mobilevit_xxs", "mobilevitv2_050", "edgenext_xx_small"),
    *("efficientformer_l1", "efficientformerv2_s0", "fastvit_t8", "efficientvit_b0", "efficientvit_m0", "shvit_s1"),
    *("swiftformer_xs", "repvit_m0_9", "cpubone_nano", "nextvit_small", "tiny_vit_5m_224", "levit_128s"),
    *("maxvit_pico_rw_256", "coatnet_pico_rw_224", "vitamin_small_224", "gmlp_ti16_224", "resmlp_12_224"),
    *("mixer_s16_224", "sequencer2d_s", "pvt_v2_b0", "gcvit_xxtiny", "davit_tiny", "swin_tiny_patch4_window7_224"),
    *("swinv2_tiny_window8_256", "nest_tiny", "hiera_tiny_224", "mvitv2_tiny", "twins_svt_small", "pit_ti_224"),
    *("coat_tiny", "crossvit_tiny_240", "convit_tiny", "cait_xxs24_224", "xcit_nano_12_p16_224", "tnt_s_patch16_224"),
    *("volo_d1_224", "vit_tiny_patch16_224", "vit_wee_patch16_reg1_gap_256", "vit_tiny_r_s16_p8_224"),
    *("deit_tiny_distilled_patch16_224", "deit3_small_patch16_224", "eva02_tiny_patch14_336"),
    *("beit_base_patch16_224",),
)
# small and fast networks of every type: convolutions, transformers with and without a class token, hybrids, an MLP
SAMPLE: Sequence[str] = (
    *("squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "regnet_x_400mf"),
    *(f"{TIMM}{name}" for name in ("convnext_zepto_rms", "mobilevit_xxs", "levit_128s", "gmlp_ti16_224")),
    *(f"{TIMM}{name}" for name in ("deit_tiny_distilled_patch16_224", "xcit_nano_12_p16_224")),
)
# networks with more than 7 billion multiplications, or a default input of 380 pixels or more, get smaller inputs
_SMALLER: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("convnext_small", "convnext_base", "convnext_large", "densenet161"), 128),
        **dict.fromkeys((f"efficientnet_b{n}" for n in range(4, 8)), 128),
        **dict.fromkeys((f"efficientnet_v2_{size}" for size in "sml"), 128),
        **dict.fromkeys(("regnet_x_8gf", "regnet_x_16gf", "regnet_x_32gf"), 128),
        **dict.fromkeys(("regnet_y_8gf", "regnet_y_16gf", "regnet_y_32gf", "regnet_y_128gf"), 128),
        **dict.fromkeys(("resnet101", "resnet152", "resnext101_32x8d", "resnext101_64x4d"), 128),
        **dict.fromkeys(("wide_resnet50_2", "wide_resnet101_2", "swin_s", "swin_b", "swin_v2_s", "swin_v2_b"), 128),
        **dict.fromkeys((f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")), 128),
        **dict.fromkeys(("vit_b_16", "vit_l_16", "vit_l_32"), 128),
        "vit_h_14": 126,
    }
)
# the networks with the most parameters are tried last
_LARGE = (
    *("convnext_base", "convnext_large", "efficientnet_v2_l", "efficientnet_b7", "resnext101_64x4d"),
    *("wide_resnet101_2", "regnet_x_32gf", "regnet_y_32gf", "vit_l_32", "vit_l_16", "regnet_y_128gf", "vit_h_14"),
)


def every_network() -> list[str]:
    """Return the names of all networks as `torchserve-saliency archive` expects them, the largest last."""
    torchvision = [name for name in torchvision_names() if not name.startswith("quantized_")]
    small = [name for name in torchvision if name not in _LARGE]
    return [*small, *(TIMM + name for name in FAMILIES), *_LARGE]


def input_arguments(network: str) -> list[str]:
    """Return the arguments that reduce a network's input; nothing if it keeps its default input."""
    return ["--input-size", str(_SMALLER[network])] if network in _SMALLER else []
