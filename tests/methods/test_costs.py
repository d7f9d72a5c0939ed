"""The cost of a method, compared with the rows that it yields."""

from __future__ import annotations

import pytest

from tests.driving import driven
from tests.networks import Modules, classifier, inputs, made
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Subject
from torchserve_saliency.methods.gradient.blur_integrated_gradients import BlurIntegratedGradients
from torchserve_saliency.methods.gradient.gradient_shap import GradientShap
from torchserve_saliency.methods.gradient.guided_integrated_gradients import GuidedIntegratedGradients
from torchserve_saliency.methods.gradient.integrated_gradients import IntegratedGradients
from torchserve_saliency.methods.gradient.smooth_grad import SmoothGrad

PARAMETERS: list[tuple[str, object]] = [
    ("smooth_grad", SmoothGrad(19)),
    ("smooth_grad_squared", SmoothGrad(16)),
    ("var_grad", SmoothGrad(1)),
    ("integrated_gradients", IntegratedGradients(21)),
    ("gradient_shap", GradientShap(19)),
    ("gradient_shap", GradientShap(19, baseline="uniform")),
    ("blur_integrated_gradients", BlurIntegratedGradients(18)),
    ("guided_integrated_gradients", GuidedIntegratedGradients(5)),
]


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize(("method", "parameters"), PARAMETERS)
def test_a_method_yields_as_many_rows_as_its_cost(method: str, parameters: object, targets: int) -> None:
    model = classifier(made(Modules))
    objective = Objective(tuple(range(targets)))
    cost = METHODS[method].cost(parameters, model.input)
    steps = METHODS[method].function(Subject(inputs(), objective, model.input), parameters)
    requested = driven(model, steps).requested
    backwards = sum(len(r.inputs) * len(r.objective.targets) for r in requested if r.objective and r.differentiated)
    assert sum(len(rows.inputs) for rows in requested) == cost.forwards + targets * cost.per_target
    assert backwards == targets * cost.backwards
