"""The gallery in a browser: its filters, its confusion table and its link, on a folder with known errors."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect

from tests.cli.web.page_process import page_process
from tests.cli.web.small_torchserve import SmallTorchServe, small_torchserve
from tests.cli.web.test_page_access import WAYS, faults, overflow
from tests.cli.web.visit import Visit
from torchserve_saliency_cli.leaves.labelled_folder import draw_labelled
from torchserve_saliency_cli.torchserve.properties import KEY_FILE
from torchserve_saliency_cli.torchserve.server import TorchServe

Visitor = Callable[..., Visit]
GALLERY = "model=leaves&version=1.0&view=gallery"
MANY = [f"kind {number}" for number in range(25)]


@pytest.fixture(scope="module")
def gallery_url(server: TorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield a page with drawn leaves: three are in the folder of another class, one is broken, one has no class."""
    samples = tmp_path_factory.mktemp("leaves")
    draw_labelled(samples)
    shutil.move(samples / "rust" / "1.png", samples / "scab" / "rust 1.png")
    shutil.move(samples / "rust" / "2.png", samples / "scab" / "rust 2.png")
    shutil.move(samples / "scab" / "1.png", samples / "healthy" / "scab 1.png")
    (samples / "rust" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (samples / "unknown").mkdir()
    shutil.copy(samples / "healthy" / "1.png", samples / "unknown" / "leaf.png")
    words = (
        "--url",
        server.url,
        "--management-url",
        server.management_url,
        "--key-file",
        str(server.folder / KEY_FILE),
    )
    with page_process(*words, "--samples", str(samples)) as process:
        yield process.url
    assert process.errors == ""


@pytest.fixture
def gallery(new_visit: Visitor, gallery_url: str) -> Visit:
    visit = new_visit(url=gallery_url)
    visit.go(GALLERY)
    return visit


def tiles(page: Page) -> Locator:
    return page.get_by_role("list", name="Pictures").get_by_role("button")


def names(page: Page) -> list[str]:
    """Return the names of the shown pictures, in their order."""
    found: list[str] = tiles(page).locator("img").evaluate_all("all => all.map(image => image.alt)")
    return found


def cell(page: Page, text: str) -> Locator:
    return page.get_by_role("table", name="Confusion").get_by_role("button", name=text, exact=True)


def status(visit: Visit, text: str) -> None:
    expect(visit.status).to_have_text(text)


def counts(page: Page) -> dict[str, str]:
    section = page.get_by_role("region", name="Filters")
    return dict(zip(section.locator("dt").all_text_contents(), section.locator("dd").all_text_contents(), strict=True))


def test_counts_and_thumbnails_tell_right_from_wrong(gallery: Visit) -> None:
    status(gallery, "26 of 26 pictures shown, done")
    expected = {"Pictures": "26", "Right": "21 (87.5 %)", "Wrong": "3", "Failed": "1", "Neither right nor wrong": "1"}
    assert counts(gallery.page) == expected
    tile = tiles(gallery.page).filter(has=gallery.page.get_by_alt_text("scab/rust 1.png"))
    assert re.fullmatch(r"✗ wrong\s+rust\s*>?\d+\.\d %\s+true: scab\s*", tile.inner_text(), re.DOTALL)
    right = tiles(gallery.page).filter(has=gallery.page.get_by_alt_text("black_rot/1.png"))
    assert right.inner_text().startswith("✓ right")
    failed = tiles(gallery.page).filter(has=gallery.page.get_by_alt_text("rust/broken.png"))
    assert failed.inner_text().startswith("! failed")
    assert "'unknown'" in gallery.page.locator(".note").inner_text()


def test_filters_choose_pictures(gallery: Visit) -> None:
    page = gallery.page
    gallery.combobox("Show").select_option("wrong")
    status(gallery, "3 of 26 pictures shown, done")
    assert names(page) == ["healthy/scab 1.png", "scab/rust 1.png", "scab/rust 2.png"]
    gallery.combobox("True class").select_option("scab")
    assert names(page) == ["scab/rust 1.png", "scab/rust 2.png"]
    gallery.combobox("Predicted class").select_option("black rot")
    status(gallery, "0 of 26 pictures shown, done")
    page.get_by_role("button", name="Show all pictures").click()
    status(gallery, "26 of 26 pictures shown, done")
    gallery.combobox("Show").select_option("failed")
    assert names(page) == ["rust/broken.png"]


def test_the_least_sure_pictures_come_first(gallery: Visit) -> None:
    by_name = names(gallery.page)
    assert by_name == sorted(by_name)
    gallery.combobox("Order").select_option("least sure")
    assert sorted(names(gallery.page)) == by_name != names(gallery.page)
    texts = gallery.page.locator(".tile .number").all_text_contents()
    shown = [float(text.strip("<> %")) for text in texts]
    assert shown == sorted(shown)
    assert names(gallery.page)[-1] == "rust/broken.png"


def test_cells_of_the_confusion_table_filter(gallery: Visit) -> None:
    page = gallery.page
    buttons = page.get_by_role("table", name="Confusion").get_by_role("button")
    labels = {button.get_attribute("aria-label") for button in buttons.all()}
    assert labels == {
        "6: true healthy, predicted healthy",
        "1: true healthy, predicted scab",
        "4: true rust, predicted rust",
        "2: true scab, predicted rust",
        "5: true scab, predicted scab",
        "6: true black rot, predicted black rot",
    }
    cell(page, "2: true scab, predicted rust").click()
    assert names(page) == ["scab/rust 1.png", "scab/rust 2.png"]
    assert gallery.combobox("True class").input_value() == "scab"
    expect(cell(page, "2: true scab, predicted rust")).to_have_attribute("aria-pressed", "true")
    cell(page, "2: true scab, predicted rust").click()
    status(gallery, "26 of 26 pictures shown, done")


def test_the_link_restores_the_filters(gallery: Visit, new_visit: Visitor) -> None:
    cell(gallery.page, "2: true scab, predicted rust").click()
    gallery.combobox("Show").select_option("wrong")
    gallery.combobox("Order").select_option("least sure")
    other = new_visit(url=gallery.url)
    other.go(gallery.fragment)
    assert names(other.page) == names(gallery.page)
    chosen = {name: other.combobox(name).input_value() for name in ("True class", "Predicted class", "Show", "Order")}
    assert chosen == {"True class": "scab", "Predicted class": "rust", "Show": "wrong", "Order": "least sure"}
    expect(other.page.get_by_role("button", name="Gallery")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize(("part", "label"), [("true=rots", "True class"), ("show=x", "Show"), ("order=<b>", "Order")])
def test_a_link_with_an_unknown_filter_says_so(new_visit: Visitor, gallery_url: str, part: str, label: str) -> None:
    visit = new_visit(url=gallery_url)
    visit.go(f"{GALLERY}&{part}")
    assert visit.alerts() == [f"The link's value “{part.partition('=')[2]}” is none of these."]
    expect(visit.combobox(label)).to_have_attribute("aria-invalid", "true")


def test_a_click_explains_and_back_returns_to_the_filters(gallery: Visit) -> None:
    page = gallery.page
    gallery.combobox("Show").select_option("wrong")
    tiles(page).first.click()
    expect(page.get_by_role("heading", name="Predictions")).to_be_visible()
    gallery.done()
    assert "picture=sample%3Ahealthy%2Fscab+1.png" in gallery.fragment
    assert "view=" not in gallery.fragment
    expect(page.get_by_role("list", name="Predictions").get_by_role("button").first).to_have_text("scab")
    assert gallery.map("gradient").is_visible()
    page.go_back()
    status(gallery, "3 of 26 pictures shown, done")
    expect(tiles(page).first).to_be_focused()


def test_the_views_are_switched(new_visit: Visitor, gallery_url: str) -> None:
    visit = new_visit(url=gallery_url)
    visit.open("gradient", picture="sample:rust/3.png")
    before = visit.fragment
    assert not [url for url in visit.requests if re.search(r"gallery\w*\.js", url)]  # it is loaded when it is opened
    visit.page.get_by_role("button", name="Gallery").click()
    status(visit, "26 of 26 pictures shown, done")
    assert len(visit.asked()) == 1  # the gallery does not ask for maps
    visit.page.get_by_role("button", name="Explain", exact=True).click()
    visit.done()
    assert visit.fragment == before
    assert visit.map("gradient").is_visible()


def test_a_link_to_the_gallery_alone_can_explain(new_visit: Visitor, gallery_url: str) -> None:
    visit = new_visit(url=gallery_url)
    visit.go("view=gallery")
    assert visit.asked() == []
    visit.page.get_by_role("button", name="Explain", exact=True).click()
    visit.done()
    assert visit.map("gradient").is_visible()


def test_the_gallery_is_walked_by_keyboard(gallery: Visit) -> None:
    page = gallery.page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the gallery")).to_be_focused()
    page.keyboard.press("Enter")
    for name in ("True class", "Predicted class", "Show"):
        page.keyboard.press("Tab")
        expect(gallery.combobox(name)).to_be_focused()
    page.keyboard.type("wrong")
    status(gallery, "3 of 26 pictures shown, done")
    expect(gallery.combobox("Show")).to_be_focused()
    for _ in range(5):
        page.keyboard.press("Tab")
    expect(cell(page, "6: true healthy, predicted healthy")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert names(page) == ["healthy/scab 1.png"]
    expect(cell(page, "1: true healthy, predicted scab")).to_be_focused()
    for _ in range(5):
        page.keyboard.press("Tab")
    expect(tiles(page).first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Predictions")).to_be_visible()
    gallery.done()


@pytest.mark.parametrize(("width", "dark"), WAYS)
def test_the_gallery_is_accessible_and_does_not_overflow(
    new_visit: Visitor, gallery_url: str, width: int, dark: bool
) -> None:
    visit = new_visit(width, dark, gallery_url)
    visit.go(f"{GALLERY}&true=scab&order=bad")
    assert faults(visit) == []
    assert overflow(visit) <= 0


class HeldAnswers(dict[tuple[str, str], tuple[int, object]]):
    """Answers of which those to POST wait until `gate` is released."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Semaphore(0)

    def get(self, key: tuple[str, str], default: object = None) -> object:  # type: ignore[override]
        if key[0] == "POST":
            self.gate.acquire(timeout=60)
        return super().get(key, default)


@pytest.fixture
def held() -> Iterator[SmallTorchServe]:
    """Yield a server whose model takes every picture for the first of many classes."""
    with small_torchserve() as running:
        running.answers = HeldAnswers()
        running.list_models(["many"])
        description = {"methods": {"gradient": {"parameters": {}}}, "label_names": MANY, "activation": "sigmoid"}
        running.serve_model("many", ["1.0"], "1.0", description)
        prediction = {"index": 0, "label": MANY[0], "probability": 0.75, "logit": 1.0}
        answer = {"predictions": [prediction], "explanations": [{"target": {**prediction, "probability": 0.25}}]}
        running.answers["POST", "/explanations/many/1.0"] = (200, answer)
        yield running


def gate(server: SmallTorchServe) -> threading.Semaphore:
    assert isinstance(server.answers, HeldAnswers)
    return server.answers.gate


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "green").save(folder / name)
    return folder


def test_progress_is_shown_while_predictions_arrive(held: SmallTorchServe, tmp_path: Path, new_visit: Visitor) -> None:
    samples = pictures(tmp_path, *(f"kind_{number}/x.png" for number in range(25)))
    with page_process("--url", held.url, "--management-url", held.url, "--samples", str(samples)) as process:
        visit = new_visit(url=process.url)
        visit.page.goto(f"{visit.url}#view=gallery")
        progress = visit.page.get_by_role("progressbar", name="Predictions that have arrived")
        expect(progress).to_have_attribute("max", "25")
        expect(progress).to_have_attribute("value", "0")
        gate(held).release(5)
        expect(progress).to_have_attribute("value", "5")
        status(visit, "5 of 25 predictions …")
        gate(held).release(100)
        status(visit, "25 of 25 pictures shown, done")
        expect(progress).to_be_hidden()
        table = visit.page.get_by_role("table", name="Confusion")
        assert table.get_by_role("row").count() == 21
        assert "Of 25 classes, the 20 with most errors are in the table." in visit.page.locator(".scroll").inner_text()
        assert "at least 50 %" in visit.page.locator(".note").inner_text()
        assert counts(visit.page)["Right"] == "0 (0.0 %)"


def test_another_model_has_its_own_pictures_and_filters(
    held: SmallTorchServe, tmp_path: Path, new_visit: Visitor
) -> None:
    other = {"methods": {"gradient": {"parameters": {}}}, "label_names": ["kind", "other kind"]}
    held.list_models(["many", "other"])
    held.serve_model("other", ["1.0"], "1.0", other)
    prediction = {"index": 1, "label": "other kind", "probability": 0.9}
    held.answers["POST", "/explanations/other/1.0"] = (200, {"predictions": [prediction], "explanations": []})
    gate(held).release(100)
    samples = pictures(tmp_path, "1/x.png", "other kind/y.png")
    with page_process("--url", held.url, "--management-url", held.url, "--samples", str(samples)) as process:
        visit = new_visit(url=process.url)
        visit.go("model=many&view=gallery&predicted=kind+0&show=wrong")
        status(visit, "1 of 2 pictures shown, done")
        visit.combobox("Model").select_option("other 1.0")
        status(visit, "0 of 2 pictures shown, done")
        assert visit.combobox("Show").input_value() == "wrong"
        assert counts(visit.page) == {"Pictures": "2", "Right": "2 (100.0 %)", "Wrong": "0"}
        assert visit.combobox("Predicted class").locator("option").all_text_contents() == ["any class", "other kind"]
        assert "model=other" in visit.fragment
        assert visit.asked() == []


def test_big_folders_are_shown_in_parts_and_labels_are_not_needed(
    held: SmallTorchServe, tmp_path: Path, new_visit: Visitor
) -> None:
    samples = pictures(tmp_path, *(f"{number:03}.png" for number in range(205)))
    gate(held).release(1000)
    with page_process("--url", held.url, "--management-url", held.url, "--samples", str(samples)) as process:
        visit = new_visit(url=process.url)
        visit.go("view=gallery")
        status(visit, "205 of 205 pictures shown, done")
        assert tiles(visit.page).count() == 200
        visit.page.get_by_role("button", name="Show more (5 left)").click()
        assert tiles(visit.page).count() == 205
        expect(tiles(visit.page).nth(200)).to_be_focused()
        expect(visit.combobox("Order")).to_be_visible()
        expect(visit.combobox("True class")).to_have_count(0)
        expect(visit.combobox("Show")).to_have_count(0)
        expect(visit.page.get_by_role("table")).to_have_count(0)


def test_without_samples_the_flag_is_named(held: SmallTorchServe, new_visit: Visitor) -> None:
    with page_process("--url", held.url, "--management-url", held.url) as process:
        visit = new_visit(url=process.url)
        visit.go("view=gallery")
        assert "start the page with --samples FOLDER" in visit.alerts()[0]


def test_a_lost_server_is_asked_again(gallery: Visit) -> None:
    page = gallery.page
    tries: list[str] = []

    def answer(route: Route) -> None:
        tries.append(route.request.url)
        if len(tries) == 1:
            route.abort()
        else:
            route.continue_()

    page.route("**/api/gallery/**", answer)
    page.get_by_role("button", name="Read the folder again").click()
    expect(page.get_by_role("alert")).to_contain_text("This page tries again every 2 seconds.")
    status(gallery, "26 of 26 pictures shown, done")
    assert gallery.alerts() == []
    assert len(tries) == 2


def test_a_broken_list_of_labels_is_said(held: SmallTorchServe, tmp_path: Path, new_visit: Visitor) -> None:
    samples = pictures(tmp_path, "x.png")
    gate(held).release(100)
    with page_process("--url", held.url, "--management-url", held.url, "--samples", str(samples)) as process:
        (samples / "labels.csv").write_text("path,label\n<b>y</b>.png,kind 1\n")
        visit = new_visit(url=process.url)
        visit.go("view=gallery")
        (alert,) = visit.alerts()
        assert "no path in labels.csv is a picture of the folder, such as <b>y</b>.png" in alert
