"""The parser under arbitrary requests: a query or a refusal of the contract, and an answer's parameters sent again."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saliency.errors import RequestError
from saliency.explainer import Explainer
from saliency.message import Message, gathered
from saliency.methods import METHODS
from saliency.options import OPTIONS, PARAMETERS
from saliency.reading import Asked, read_options
from saliency.request import read_query
from saliency.response import error_response
from saliency.schema import kinds
from scripts.corpus.contract import error_faults
from scripts.corpus.entry import REFUSALS
from scripts.corpus.network import small_classifier
from tests.test_explainer import picture

# lone surrogates too, which JSON can spell
TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
NAMES = st.sampled_from([*OPTIONS, *PARAMETERS, "data", "body"]) | TEXT
FORM = st.dictionaries(NAMES, st.binary(max_size=60), max_size=6)
BODY = st.fixed_dictionaries({"body": JSON | st.dictionaries(NAMES, JSON, max_size=6) | st.binary(max_size=200)})
TYPES = st.sampled_from(["", "application/json", "text/plain"]) | TEXT
MESSAGES = st.builds(Message, FORM | BODY, TYPES, TEXT, TEXT, st.booleans())
MODEL = small_classifier()


def check(error: RequestError) -> None:
    """Hold a refusal against the contract."""
    assert error.status in REFUSALS
    assert list(error_faults(error.status, error_response(error).body)) == []


@given(MESSAGES)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_message_is_gathered_and_read_or_refused(message: Message) -> None:
    try:
        _, options = gathered(message)
        assert all(isinstance(name, str) for name in options)
        read_query(message, MODEL)
    except RequestError as error:
        check(error)


@given(st.dictionaries(st.sampled_from([*OPTIONS, *PARAMETERS]), JSON, max_size=4), st.sampled_from(sorted(METHODS)))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_options_are_read_or_refused(sent: Mapping[str, object], method: str) -> None:
    try:
        asked = read_options({"method": method, **sent}, {})
    except RequestError as error:
        assert (error.status, error.option is None) == (400, False)
        check(error)
    else:
        assert isinstance(asked, Asked)
        assert isinstance(asked.parameters, METHODS[asked.options.method].parameters)


@pytest.mark.parametrize("method", METHODS)
def test_the_parameters_read_are_accepted_again(method: str) -> None:
    parameters = read_options({"method": method}, {}).parameters
    values = {name: getattr(parameters, name) for name in kinds(METHODS[method].parameters)}
    sent = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    assert read_options({"method": method, **sent}, {}).parameters == parameters


@pytest.mark.parametrize("options", [{"method": "gradient"}, {"method": "smooth_grad", "samples": 4, "target": "cat"}])
def test_an_answers_parameters_sent_again_give_the_same_answer(options: dict[str, object]) -> None:
    explainer = Explainer(MODEL)
    first = explainer.explain(picture(3), **options)
    again = explainer.explain(picture(3), **{**options, **first.parameters})
    assert again.parameters == first.parameters
    assert (again.maps[0].saliency == first.maps[0].saliency).all()
