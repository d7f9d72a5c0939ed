"""Networks as people write them."""

from __future__ import annotations

from tools.cases import network_files, network_inputs, network_outputs
from tools.cases.case import Case

CASES: tuple[Case, ...] = (
    Case("C1", "small modules of its own beside the network; two networks", network_files.several_classes),
    Case("C2", "a constructor with arguments", network_files.constructor_arguments),
    Case("C3", "a function that makes the network", network_files.functions),
    Case("C4", "a network in several files", network_files.several_files),
    Case("C5", "a package that the image lacks", network_files.required_packages),
    Case("C6", "the output squeezed to [n]", network_outputs.shapes_of_logits),
    Case("C7", "a subclass of SaliencyHandler", network_files.own_handler),
    Case("C8", "two heads, species and disease", network_outputs.two_heads),
    Case("C9", "torch.no_grad() around the backbone", network_outputs.blocked_gradients),
    Case("C10", "letterbox", network_inputs.letterbox),
    Case("C11", "config.json of Hugging Face as labels", network_inputs.files_of_labels),
    Case("C12", "7 channels", network_inputs.many_channels),
)
