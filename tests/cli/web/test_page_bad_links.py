"""Links that were cut or edited: each gives a sentence, never a blank page."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.cli.web.visit import LEAVES, Visit

PICTURE = f"picture={LEAVES['picture']}"


def text_of(visit: Visit) -> str:
    return " ".join(visit.alerts())


@pytest.mark.parametrize(
    ("fragment", "sentence"),
    [
        (f"model=leaves&{PICTURE}&card=gardient", "No method is named “gardient”. There are gradient"),
        (f"model=leaves&{PICTURE}&card=attention_rollout", "attention_rollout: "),
        (f"model=leaves&{PICTURE}&card=gradient?stepz=3", "stepz"),
        (f"model=leaves&{PICTURE}&card=integrated_gradients?steps=many", "steps"),
        (f"model=leaves&{PICTURE}&card=integrated_gradients?baseline=purple", "baseline"),
        (f"model=leaves&{PICTURE}&card=gradient&opacity=nonsense", "opacity must be a number from 0 to 1"),
        (f"model=leaves&{PICTURE}&card=gradient&opacity=7", "opacity must be a number from 0 to 1"),
        (f"model=leaves&{PICTURE}&card=gradient&opacity=", "opacity must be a number from 0 to 1"),
        (f"model=leaves&{PICTURE}&card=gradient&colours=constructor", "no colours named “constructor”"),
        (f"model=leaves&{PICTURE}&card=gradient&colour=red", "does not know: “colour”"),
        (f"model=leafs&{PICTURE}&card=gradient", "“leafs” is not served. Served: "),
        (f"model=leaves&version=9.9&{PICTURE}&card=gradient", "“leaves 9.9” is not served"),
        (f"model=leaves&{PICTURE}&card=gradient&class=rost", "rost"),
        (f"model=leaves&{PICTURE}&card=gradient&class=99", "99"),
        (f"model=leaves&{PICTURE}&card=gradient&against=rost", "rost"),
        (f"model=leaves&{PICTURE}&card=gradient&head=tail", "tail"),
        ("model=leaves&picture=sample:nothing.png&card=gradient", "nothing.png"),
        ("model=leaves&picture=sample:../../key_file.json&card=gradient", "key_file.json"),
        ("model=leaves&picture=sha256:12&card=gradient", "The picture of this link is not here"),
        ("model=leaves&picture=x&card=gradient", "x"),
        ("model=leaves&picture=%E0%A4%A&card=gradient", ""),
        ("nonsense", "does not know: “nonsense”"),
    ],
)
def test_an_edited_link_is_a_sentence(visit: Visit, fragment: str, sentence: str) -> None:
    visit.go(fragment)
    assert visit.alerts(), visit.page.inner_text("body")
    assert sentence in text_of(visit)
    expect(visit.combobox("Class")).to_be_visible()


NONSENSE = ["%", "%E0%A4%A", "card=%", "&&&", "=", "card=&card=?", "__proto__=1", "card=__proto__", "card=constructor"]


@pytest.mark.parametrize("fragment", NONSENSE)
def test_a_link_of_nonsense_leaves_a_usable_page(visit: Visit, fragment: str) -> None:
    visit.go(f"{fragment}&model=leaves")
    visit.combobox("Add a method").select_option("gradient")
    visit.done()
    expect(visit.card("gradient").last).to_be_visible()


def test_a_link_that_was_cut_anywhere_leaves_a_usable_page(visit: Visit) -> None:
    visit.open("gradient?reduce=sum", **{"class": "black rot", "opacity": "0.5"})
    whole = visit.fragment
    for length in range(10, len(whole), 23):
        visit.go(whole[:length])
        expect(visit.combobox("Class")).to_be_visible()


def test_a_link_with_twenty_cards_shows_the_first_eight(visit: Visit) -> None:
    visit.open(*["gradient"] * 20)
    assert "more than 8 maps" in text_of(visit)
    assert len(visit.pixels()) == 8
    visit.combobox("Add a method").select_option("grad_cam")
    assert "At most 8 maps" in text_of(visit)
    expect(visit.card("grad_cam")).to_have_count(0)


def test_a_link_of_ten_thousand_characters_is_a_sentence(visit: Visit) -> None:
    visit.open("gradient", **{"class": "x" * 10_000})
    assert visit.alerts()


def test_one_wrong_card_leaves_the_others(visit: Visit) -> None:
    visit.open("gardient", "gradient", "integrated_gradients?steps=0")
    expect(visit.card("gardient").get_by_role("alert")).to_be_visible()
    expect(visit.map("gradient")).to_be_visible()
    expect(visit.card("integrated_gradients").get_by_role("alert")).to_be_visible()
