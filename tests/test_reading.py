"""Options together: nothing unknown, nothing idle, defaults beneath what was sent."""

from __future__ import annotations

import pytest

from saliency.errors import RequestError
from saliency.methods import METHODS
from saliency.methods.noise import SmoothGrad
from saliency.reading import read_defaults, read_options
from saliency.schema import kinds


def refusal(sent: dict[str, object], defaults: dict[str, object] | None = None) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read_options(sent, defaults or {})
    return caught.value


def test_what_is_not_sent_is_the_default() -> None:
    asked = read_options({"method": "smooth_grad", "samples": "7"}, {"reduce": "sum"})
    assert (asked.options.reduce, asked.options.score) == ("sum", "logit")
    assert asked.parameters == SmoothGrad(samples=7)


def test_an_unknown_option_is_refused_with_the_near_one() -> None:
    error = refusal({"metod": "gradient"})
    assert (error.status, error.option) == (400, "metod")
    assert "did you mean 'method'?" in error.message


def test_a_parameter_of_another_method_is_refused_with_its_takers() -> None:
    error = refusal({"steps": 5})
    assert (error.status, error.option) == (400, "steps")
    assert "integrated_gradients" in error.message
    assert "no parameters" in error.message


def test_a_default_of_another_method_steps_aside() -> None:
    defaults: dict[str, object] = {"method": "smooth_grad", "samples": 3}
    assert read_options({"method": "gradient"}, defaults).options.method == "gradient"
    assert read_options({}, defaults).parameters == SmoothGrad(samples=3)


def test_polarity_needs_a_signed_map() -> None:
    assert refusal({"polarity": "positive"}).option == "polarity"
    assert read_options({"polarity": "negative", "reduce": "sum"}, {}).options.polarity == "negative"
    assert read_options({"reduce": "l2"}, {"polarity": "positive", "reduce": "sum"}).options.polarity == "both"


def test_percentiles_must_be_in_order() -> None:
    assert refusal({"floor": 60, "clip": 40}).status == 400
    assert refusal({"clip": 0}).option == "clip"
    moved = read_options({"floor": 60}, {"clip": 50}).options
    assert (moved.floor, moved.clip) == (60, 100)
    assert read_options({"clip": 40}, {"floor": 50}).options.floor == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", "gradiant"),
        ("score", "softmax"),
        ("reduce", "mean"),
        ("render", "hologram"),
        ("space", "outer"),
        ("colormap", "no such map"),
        ("colormap", 7),
        ("alpha", 1.5),
        ("clip", "high"),
        ("format", "jpeg"),
        ("top_k", 0),
        ("top_k", 101),
        ("quality", "perhaps"),
        ("target", []),
    ],
)
def test_wrong_values_name_their_option(name: str, value: object) -> None:
    assert (refusal({name: value}).status, refusal({name: value}).option) == (400, name)


def test_the_bounds_of_every_parameter_hold() -> None:
    for method, entry in METHODS.items():
        for name, kind in kinds(entry.parameters).items():
            bounds = kind.describe()
            for bound, step in (("minimum", -1), ("maximum", 1)):
                if isinstance(edge := bounds.get(bound), int | float):
                    read_options({"method": method, name: edge}, {})
                    assert refusal({"method": method, name: edge + step}).option == name


@pytest.mark.parametrize("defaults", [{"metod": "x"}, {"samples": 0}, {"explain": True}, {"method": "none"}])
def test_wrong_defaults_are_refused(defaults: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        read_defaults(defaults)


def test_good_defaults_pass() -> None:
    assert read_defaults({"method": "grad_cam", "samples": 9}) == {"method": "grad_cam", "samples": 9}


@pytest.mark.parametrize("method", ["eigen_cam", "attention_rollout", "feature_maps"])
@pytest.mark.parametrize(("option", "value"), [("against", 3), ("score", "probability")])
def test_a_method_that_hears_no_class_takes_no_score_of_one(method: str, option: str, value: object) -> None:
    with pytest.raises(RequestError, match="is the same for every class") as caught:
        read_options({"method": method, option: value}, {})
    assert (caught.value.status, caught.value.option) == (400, option)
    assert getattr(read_options({"method": method}, {option: value}).options, option) in (None, "logit")
    read_options({"method": method, "score": "logit"}, {})


def test_what_is_no_saliency_is_not_scored() -> None:
    with pytest.raises(RequestError, match="makes no saliency: 'quality' must be false"):
        read_options({"method": "feature_maps", "quality": True}, {})
