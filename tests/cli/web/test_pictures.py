"""The store of pictures: identifiers, limits, and names that lead nowhere else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from torchserve_saliency.errors import RequestError
from torchserve_saliency_cli.web import pictures as module
from torchserve_saliency_cli.web.pictures import MOST_BYTES, Pictures, check_length


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two samples, next to a file that is none of them."""
    samples = tmp_path / "samples"
    (samples / "rust").mkdir(parents=True)
    for name in ("a.png", "rust/b.png"):
        Image.new("RGB", (4, 4)).save(samples / name)
    (samples / "notes.txt").write_text("no picture")
    (tmp_path / "secret.png").write_bytes(b"secret")
    return samples


def refusal(pictures: Pictures, identifier: str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        pictures.read(identifier)
    return caught.value


def test_a_sent_picture_is_known_by_its_digest() -> None:
    pictures = Pictures(None)
    identifier = pictures.add(b"data")
    assert identifier == f"sha256:{hashlib.sha256(b'data').hexdigest()}"
    assert pictures.add(b"data") == identifier
    assert pictures.read(identifier) == ("picture", b"data")


def test_samples_are_known_by_their_path_in_the_folder(folder: Path) -> None:
    pictures = Pictures(folder)
    assert list(pictures.samples) == ["a.png", "rust/b.png"]
    assert pictures.samples["rust/b.png"].folders == ("rust",)
    assert pictures.read("sample:rust/b.png") == ("b.png", (folder / "rust" / "b.png").read_bytes())


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "../../etc/passwd",
        "rust/../../secret.png",
        "rust/../a.png",
        "/etc/passwd",
        "..%2Fsecret.png",
        "notes.txt",
        ".",
        "",
        "a.png\0",
    ],
)
def test_a_name_that_is_not_listed_is_not_read(folder: Path, name: str) -> None:
    (folder.parent / "secret.png").write_bytes(b"secret")
    error = refusal(Pictures(folder), f"sample:{name}")
    assert (error.status, error.type, error.option) == (404, "PictureNotFoundException", "data")
    assert str(folder.parent) not in error.message


@pytest.mark.parametrize("identifier", ["", "a.png", "sha256:", f"sha256:{'0' * 64}", "sample:" + "x" * 9999])
def test_an_unknown_identifier_is_404_with_a_short_message(folder: Path, identifier: str) -> None:
    error = refusal(Pictures(folder), identifier)
    assert error.status == 404
    assert len(error.message) < 200


def test_new_samples_are_found_and_removed_ones_are_gone(folder: Path) -> None:
    pictures = Pictures(folder)
    (folder / "a.png").rename(folder / "c.png")
    assert refusal(pictures, "sample:a.png").status == 404
    pictures.refresh()
    assert list(pictures.samples) == ["c.png", "rust/b.png"]


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pictures in the folder"):
        Pictures(tmp_path)


def test_an_empty_file_is_400_and_a_large_one_413(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="the file is empty") as caught:
        Pictures(None).add(b"")
    assert (caught.value.status, caught.value.option) == (400, "data")
    check_length(MOST_BYTES)
    with pytest.raises(RequestError, match="more than 64 MB") as caught:
        check_length(MOST_BYTES + 1)
    assert (caught.value.status, caught.value.option) == (413, "data")
    monkeypatch.setattr(module, "MOST_BYTES", 3)
    with pytest.raises(RequestError, match="the most that this page takes"):
        Pictures(None).add(b"1234")


def test_the_pictures_that_were_used_least_recently_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 10)
    pictures = Pictures(None)
    first, second, third = (pictures.add(text * 4) for text in (b"1", b"2", b"3"))
    assert refusal(pictures, first).status == 404
    pictures.read(second)
    pictures.add(b"4444")
    assert refusal(pictures, third).status == 404
    assert pictures.read(second)[1] == b"2222"
