"""What a method says that it costs at most, against the rows that it asks for."""

from __future__ import annotations

import pytest

from saliency.methods import METHODS
from saliency.methods.base import Subject
from saliency.methods.blurred import BlurIntegratedGradients
from saliency.methods.gradient_shap import GradientShap
from saliency.methods.guided_path import GuidedIntegratedGradients
from saliency.methods.noise import SmoothGrad
from saliency.methods.paths import IntegratedGradients
from saliency.objective import Objective
from tests.driving import driven
from tests.networks import Modules, classifier, inputs, made

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
def test_a_method_asks_for_as_many_rows_as_it_says(method: str, parameters: object, targets: int) -> None:
    model = classifier(made(Modules))
    objective = Objective(tuple(range(targets)))
    said = METHODS[method].cost(parameters, model.input)
    steps = METHODS[method].function(Subject(inputs(), objective, model.input), parameters)
    asked = driven(model, steps).asked
    backwards = sum(len(r.inputs) * len(r.objective.targets) for r in asked if r.objective and r.differentiated)
    assert sum(len(rows.inputs) for rows in asked) == said.forwards + targets * said.per_target
    assert backwards == targets * said.backwards
