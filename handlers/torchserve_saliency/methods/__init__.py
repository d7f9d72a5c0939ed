"""An input, an objective and parameters enter a method; the rows to evaluate and, at the end, its maps leave.

METHODS holds every method by the name that requests use, and ALIASES holds further accepted names.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from torchserve_saliency.methods.activation.activation_maximization import ACTIVATION_MAXIMIZATION_METHODS
from torchserve_saliency.methods.activation.attention import ATTENTION_METHODS
from torchserve_saliency.methods.activation.feature_maps import FEATURE_MAP_METHODS
from torchserve_saliency.methods.activation.grad_cams import GRAD_CAM_METHODS
from torchserve_saliency.methods.activation.gradient_free_cams import GRADIENT_FREE_CAM_METHODS
from torchserve_saliency.methods.base import Method
from torchserve_saliency.methods.gradient.blur_integrated_gradients import BLUR_INTEGRATED_GRADIENTS_METHODS
from torchserve_saliency.methods.gradient.deep_lift import DEEP_LIFT_METHODS
from torchserve_saliency.methods.gradient.gradient_shap import GRADIENT_SHAP_METHODS
from torchserve_saliency.methods.gradient.guided_integrated_gradients import GUIDED_INTEGRATED_GRADIENTS_METHODS
from torchserve_saliency.methods.gradient.integrated_gradients import INTEGRATED_GRADIENTS_METHODS
from torchserve_saliency.methods.gradient.lrp import LRP_METHODS
from torchserve_saliency.methods.gradient.plain_gradients import PLAIN_GRADIENT_METHODS
from torchserve_saliency.methods.gradient.smooth_grad import SMOOTH_GRAD_METHODS
from torchserve_saliency.methods.gradient.xrai import XRAI_METHODS
from torchserve_saliency.methods.perturbation.feature_ablation import FEATURE_ABLATION_METHODS
from torchserve_saliency.methods.perturbation.occlusion import OCCLUSION_METHODS
from torchserve_saliency.methods.perturbation.rise import RISE_METHODS
from torchserve_saliency.methods.perturbation.shapley import SHAPLEY_METHODS
from torchserve_saliency.methods.perturbation.surrogates import SURROGATE_METHODS

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        **PLAIN_GRADIENT_METHODS,
        **SMOOTH_GRAD_METHODS,
        **INTEGRATED_GRADIENTS_METHODS,
        **GRADIENT_SHAP_METHODS,
        **BLUR_INTEGRATED_GRADIENTS_METHODS,
        **GUIDED_INTEGRATED_GRADIENTS_METHODS,
        **DEEP_LIFT_METHODS,
        **LRP_METHODS,
        **GRAD_CAM_METHODS,
        **GRADIENT_FREE_CAM_METHODS,
        **OCCLUSION_METHODS,
        **RISE_METHODS,
        **FEATURE_ABLATION_METHODS,
        **SURROGATE_METHODS,
        **SHAPLEY_METHODS,
        **XRAI_METHODS,
        **ATTENTION_METHODS,
        **FEATURE_MAP_METHODS,
        **ACTIVATION_MAXIMIZATION_METHODS,
    }
)

# Names of the same methods in Captum, in PAIR's library and in common use, in any spelling.
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "input_x_gradient": "gradient_x_input",
        "gradient_times_input": "gradient_x_input",
        "grad_x_input": "gradient_x_input",
        "input_x_grad": "gradient_x_input",
        "saliency": "gradient",
        "grad": "gradient",
        "grads": "gradient",
        "vanilla": "gradient",
        "vanilla_grad": "gradient",
        "vanilla_backprop": "gradient",
        "simple_gradient": "gradient",
        "backprop": "gradient",
        "backpropagation": "gradient",
        "gradients": "gradient",
        "vanilla_gradient": "gradient",
        "vanilla_gradients": "gradient",
        "guided_backpropagation": "guided_backprop",
        "guided_bp": "guided_backprop",
        "gbp": "guided_backprop",
        "deconv": "deconvolution",
        "deconvnet": "deconvolution",
        "smooth_gradient": "smooth_grad",
        "smooth_gradients": "smooth_grad",
        "smooth_grad_sq": "smooth_grad_squared",
        "integrated_gradient": "integrated_gradients",
        "integrated_grad": "integrated_gradients",
        "integrated_grads": "integrated_gradients",
        "int_grad": "integrated_gradients",
        "ig": "integrated_gradients",
        "layerwise_relevance_propagation": "lrp",
        "blur_ig": "blur_integrated_gradients",
        "guided_ig": "guided_integrated_gradients",
        "layer_grad_cam": "grad_cam",
        "grad_cam_pp": "grad_cam_plus_plus",
        "rollout": "attention_rollout",
        "feature_visualization": "activation_maximization",
        "feature_visualisation": "activation_maximization",
        "activation_maximisation": "activation_maximization",
        "shapley_value": "shapley_value_sampling",
        "shapley_values": "shapley_value_sampling",
    }
)
