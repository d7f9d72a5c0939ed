"""The methods, by the names that requests use."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from saliency.methods.base import Method
from saliency.methods.cams import Cam, grad_cam
from saliency.methods.gradients import (
    NoParameters,
    deconvolution,
    gradient,
    gradient_x_input,
    guided_backprop,
)
from saliency.methods.paths import IntegratedGradients, SmoothGrad, integrated_gradients, smooth_grad

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "gradient": Method(gradient, NoParameters, "Simonyan et al. 2013, arXiv:1312.6034"),
        "gradient_x_input": Method(gradient_x_input, NoParameters, "Shrikumar et al. 2016, arXiv:1605.01713"),
        "guided_backprop": Method(
            guided_backprop, NoParameters, "Springenberg et al. 2014, arXiv:1412.6806", needs_rectifiers=True
        ),
        "deconvolution": Method(
            deconvolution, NoParameters, "Zeiler and Fergus 2013, arXiv:1311.2901", needs_rectifiers=True
        ),
        "smooth_grad": Method(smooth_grad, SmoothGrad, "Smilkov et al. 2017, arXiv:1706.03825"),
        "integrated_gradients": Method(
            integrated_gradients, IntegratedGradients, "Sundararajan et al. 2017, arXiv:1703.01365"
        ),
        "grad_cam": Method(grad_cam, Cam, "Selvaraju et al. 2017, arXiv:1610.02391", needs_layer=True),
    }
)
