"""Class names: display, lookup and files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchserve_saliency.errors import RequestError
from torchserve_saliency.model.labels import Labels, near_matches, read_labels

BIRDS = Labels(("great grey owl", "crane", "peacock", "Crane", "toucan", "crane"))


def test_a_label_of_two_classes_is_displayed_with_its_index() -> None:
    assert [BIRDS.display(i) for i in range(6)] == [
        "great grey owl",
        "crane (1)",
        "peacock",
        "Crane",
        "toucan",
        "crane (5)",
    ]


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("peacock", 2),
        ("PeaCock", 2),
        ("  great   grey owl\n", 0),
        ("crane (1)", 1),
        ("CRANE (5)", 5),
        ("Crane", 3),  # exactly one label has this letter case
    ],
)
def test_a_label_is_found_in_any_letter_case(text: str, index: int) -> None:
    assert BIRDS.find(text) == index


@pytest.mark.parametrize("text", ["crane", "CRANE"])
def test_an_ambiguous_label_is_an_error_with_the_candidates(text: str) -> None:
    with pytest.raises(RequestError) as refused:
        BIRDS.find(text, "against")
    error = refused.value
    assert (error.status, error.kind, error.option) == (422, "AmbiguousLabelException", "against")
    assert "crane (1)" in error.message
    assert "crane (5)" in error.message
    for candidate in ("crane (1)", "crane (5)"):
        assert BIRDS.display(BIRDS.find(candidate)) == candidate


def test_an_unknown_label_is_an_error_with_similar_labels() -> None:
    with pytest.raises(RequestError) as refused:
        BIRDS.find("grat grey owl")
    error = refused.value
    assert (error.status, error.kind, error.option) == (422, "UnknownLabelException", "target")
    assert error.message == "no class is named 'grat grey owl'; did you mean 'great grey owl'?"


def test_the_error_for_a_long_unknown_label_is_short_and_without_suggestions() -> None:
    with pytest.raises(RequestError) as refused:
        BIRDS.find("z" * 5000)
    assert "did you mean" not in refused.value.message
    assert len(refused.value.message) < 200


def test_many_candidates_are_counted_instead_of_listed() -> None:
    with pytest.raises(RequestError, match=r"40 classes are named 'x'.* and 35 more"):
        Labels(("x",) * 40).find("x")


def test_near_matches_contain_the_text_or_are_similar() -> None:
    assert near_matches("owl", BIRDS.names) == ["great grey owl"]
    assert near_matches("tucan", BIRDS.names) == ["toucan"]


@given(st.lists(st.text(max_size=6) | st.sampled_from(["a", "a (0)", "a (1)", "A", " a"]), min_size=1, max_size=12))
def test_displayed_names_are_unique_and_find_their_class(names: list[str]) -> None:
    labels = Labels(tuple(names))
    shown = [labels.display(i) for i in range(len(names))]
    assert len(set(shown)) == len(names)
    assert [labels.find(text) for text in shown] == list(range(len(names)))


@given(st.text(max_size=30))
def test_any_text_finds_a_class_or_is_an_error(text: str) -> None:
    try:
        assert 0 <= BIRDS.find(text) < 6
    except RequestError as error:
        assert error.status == 422


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.txt", "cat\ndog\nbig bird\n"),
        ("labels.txt", "\ufeffcat\r\ndog\r\n big bird \r\n\r\n"),
        ("labels.json", '["cat", "dog", "big bird"]'),
        ("labels.txt", ' ["cat", "dog", "big bird"]'),
        ("labels.json", '{"0": "cat", "2": "big bird", "1": "dog"}'),
        ("labels.json", '{"0": ["n01", "cat"], "1": ["n02", "dog"], "2": ["n03", "big bird"]}'),
        ("labels.json", '[["n01", "cat"], ["n02", "dog"], ["n03", "big bird"]]'),
        ("labels.json", '{"object_type_names": ["cat", "dog", "big bird"]}'),
        ("labels.json", '{"cat": 0, "big bird": 2, "dog": 1}'),
        # C11: config.json of Hugging Face and of timm, data.yaml of YOLO, and their relatives
        ("config.json", '{"hidden_size": 8, "id2label": {"0": "cat", "1": "dog", "2": "big bird"}, "label2id": {}}'),
        ("config.json", '{"model_type": "vit", "label2id": {"cat": 0, "dog": 1, "big bird": 2}}'),
        ("config.json", '{"label2id": {"cat": "0", "dog": "1", "big bird": "2"}}'),
        ("config.json", '{"architecture": "resnet18", "num_classes": 3, "label_names": ["cat", "dog", "big bird"]}'),
        ("data.yaml", "path: ../data\nnc: 3\nnames: ['cat', 'dog', 'big bird']\n"),
        ("data.yml", "names:\n  0: cat\n  1: dog\n  2: big bird\n"),
        ("labels.yaml", "- cat\n- dog\n- big bird\n"),
        ("labels.yaml", "cat: 0\ndog: 1\nbig bird: 2\n"),
        ("classes.json", '{"classes": ["cat", "dog", "big bird"]}'),
    ],
)
def test_labels_are_read_from_every_format(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", newline="")
    assert read_labels(path) == ("cat", "dog", "big bird")


def test_names_in_yaml_are_texts_even_if_they_look_like_other_values(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text("names: [no, yes, 1.0, 7]")
    assert read_labels(path) == ("no", "yes", "1.0", "7")


def test_digits_may_be_names_of_other_indices(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('{"0": "7", "1": "3"}')
    assert read_labels(path) == ("7", "3")


def test_a_missing_index_is_named_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('{"0": "cat", "3": "dog"}')
    assert read_labels(path) == ("cat", "1", "2", "dog")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "empty"),
        ("cat\n\ndog\n", "line 2 of the labels is empty"),
        ("[]", "empty"),
        ('{"cat": "a"}', "'cat', which is no class index"),
        ('{"0": 3.5}', "3.5 is no class name"),
        ('["cat", null]', "null is no class name"),
        ('["cat", ""]', "is no class name"),
        ('{"0": "a"', "not valid JSON"),
        ('{"999999999": "a"}', "class 999999999, but only 1"),
    ],
)
def test_invalid_labels_are_an_error_with_the_reason(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=reason):
        read_labels(path)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3), lambda x: st.lists(x) | st.dictionaries(st.text(max_size=3), x)
    )
)
def test_any_json_is_read_or_is_a_value_error(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("labels") / "labels.json"
    path.write_text(json.dumps(value))
    try:
        names = read_labels(path)
    except ValueError:
        return
    assert names
    assert all(names)
