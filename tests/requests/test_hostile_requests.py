"""Arbitrary requests are read as queries or are errors of the contract; parameters of an answer can be sent again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.test_explainer import picture
from tools.corpus.contract import error_faults
from tools.corpus.entry import REFUSALS
from tools.corpus.tiny_network import small_classifier
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.protocols.dispatch import read_call
from torchserve_saliency.requests.message import Message, split_fields
from torchserve_saliency.requests.options import OPTIONS, PARAMETERS
from torchserve_saliency.requests.parsing import RequestOptions, read_options
from torchserve_saliency.requests.query import read_query
from torchserve_saliency.responses.encoding import error_response
from torchserve_saliency.schema import option_types

# with lone surrogates, which JSON can contain
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
    """Check an error against the contract."""
    assert error.status in REFUSALS
    assert list(error_faults(error.status, error_response(error).body)) == []


@given(MESSAGES)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_message_is_read_or_an_error(message: Message) -> None:
    for each in read_call(message, MODEL).messages:
        try:
            if isinstance(each, RequestError):
                raise each
            _, options = split_fields(each)
            assert all(isinstance(name, str) for name in options)
            read_query(each, MODEL)
        except RequestError as error:
            check(error)


@given(st.dictionaries(st.sampled_from([*OPTIONS, *PARAMETERS]), JSON, max_size=4), st.sampled_from(sorted(METHODS)))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_options_are_read_or_an_error(sent: Mapping[str, object], method: str) -> None:
    try:
        read = read_options({"method": method, **sent}, {})
    except RequestError as error:
        assert (error.status, error.option is None) == (400, False)
        check(error)
    else:
        assert isinstance(read, RequestOptions)
        assert isinstance(read.parameters, METHODS[read.options.method].parameters)


@pytest.mark.parametrize("method", METHODS)
def test_parameters_that_were_read_are_read_again(method: str) -> None:
    parameters = read_options({"method": method}, {}).parameters
    values = {name: getattr(parameters, name) for name in option_types(METHODS[method].parameters)}
    sent = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    assert read_options({"method": method, **sent}, {}).parameters == parameters


@pytest.mark.parametrize("options", [{"method": "gradient"}, {"method": "smooth_grad", "samples": 4, "target": "cat"}])
def test_an_answers_parameters_sent_again_give_the_same_answer(options: dict[str, Any]) -> None:
    explainer = Explainer(MODEL)
    first = explainer.explain(picture(3), **options)
    again = explainer.explain(picture(3), **{**options, **first.parameters})
    assert again.parameters == first.parameters
    assert (again.maps[0].saliency == first.maps[0].saliency).all()
