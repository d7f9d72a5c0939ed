"""The user's own files on the command line: what is missing or would hide another file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.archives import model_file, parsed_arguments
from torchserve_saliency.errors import ModelError
from torchserve_saliency_cli.archiving.arguments import UsageError
from torchserve_saliency_cli.archiving.handler_check import check_handler
from torchserve_saliency_cli.archiving.own_files import place_in_archive

HANDLER = "from saliency_handler import SaliencyHandler\n\n\nclass Mine(SaliencyHandler):\n    pass\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--extra-files", "missing.py"], r"--extra-files: there is no file or folder 'missing\.py'"),
        (["--extra-files", "{0}/torch"], "would hide the module 'torch'"),
        (["--extra-files", "{0}/json.py"], "would hide the module 'json'"),
        (["--extra-files", "{0}/tqdm", "--handler", "{0}/own.py"], "--extra-files: 'tqdm' would hide the package"),
        (["--handler", "{0}/tqdm.py"], "would hide the package 'tqdm'"),
        (["--extra-files", "{0}/net.py"], r"the archive already has a file 'net\.py'"),
        (["--extra-files", "{0}/a.txt,{0}/other/a.txt"], r"the archive already has a file 'a\.txt'"),
        (["--extra-files", "{0}/index_to_name.json"], "the archive already has a file"),
        (["--requirements-file", "missing.txt"], r"--requirements-file: there is no file 'missing\.txt'"),
        (["--handler", "missing.py"], r"there is no Python file 'missing\.py'"),
        (["--handler", "{0}/saliency_handler.py"], "would hide the module 'saliency_handler'"),
        (["--check-folder", "missing"], "--check-folder: 'missing' has no subfolders with pictures"),
        (["--check-folder", "{0}"], "has no subfolders with pictures"),
        (["--min-accuracy", "0.8"], "--min-accuracy needs the pictures .*--check-folder FOLDER"),
        (["--num-classes", "5"], r"""--arguments '\{"num_classes": 5\}'"""),
        (["--head-activation", "relu"], "--head-activation is for --arch"),
    ],
)
def test_wrong_files_are_usage_errors_that_name_the_flag(tmp_path: Path, words: list[str], reason: str) -> None:
    for name in (
        "tqdm/x.py",
        "tqdm.py",
        "own.py",
        "torch/x.py",
        "json.py",
        "a.txt",
        "other/a.txt",
        "index_to_name.json",
        "saliency_handler.py",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    own = ["--model-file", str(model_file(tmp_path)), "--weights", "none"]
    with pytest.raises(UsageError, match=reason):
        parsed_arguments(*own, *(word.format(tmp_path) for word in words))


def test_c4_an_extra_file_with_the_name_of_an_installed_package_is_kept_off_the_path(tmp_path: Path) -> None:
    (tmp_path / "tqdm").mkdir()
    args = parsed_arguments(
        *("--model-file", str(model_file(tmp_path)), "--weights", "none", "--extra-files", str(tmp_path / "tqdm"))
    )
    assert [place_in_archive(path) for path in args.extra_files] == ["own_files/tqdm"]
    assert place_in_archive(tmp_path / "blocks.py") == "blocks.py"
    assert place_in_archive(tmp_path / "tqdm.json") == "tqdm.json"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--class", "Net"], "--class names a class or a function in a --model-file"),
        (["--extra-files", __file__], "--extra-files are files that a --model-file or a --handler imports"),
    ],
)
def test_flags_of_a_model_file_do_not_apply_to_arch(words: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parsed_arguments("--arch", "resnet18", *words)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            HANDLER.replace("Mine(SaliencyHandler)", "Mine"),
            "exactly one class, a subclass of SaliencyHandler .*, not Mine",
        ),
        (f"{HANDLER}\nclass Other:\n    pass\n", "not Mine, Other; other classes belong into --extra-files"),
        ("from saliency_handler import SaliencyHandler\n", "not none"),
        (f"{HANDLER}\ndef handle(data, context):\n    pass\n", "a name `handle`"),
        (f"from . import blocks\n{HANDLER}", "has a relative import"),
    ],
)
def test_c7_a_handler_that_torchserve_would_not_load_is_a_usage_error(tmp_path: Path, code: str, reason: str) -> None:
    path = tmp_path / "my_handler.py"
    path.write_text(code)
    with pytest.raises(UsageError, match=reason):
        check_handler(path, [])


def test_c7_a_handler_may_import_other_classes_and_its_extra_files(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text("class Part:\n    pass\n")
    path = tmp_path / "my_handler.py"
    path.write_text(f"from parts import Part\nfrom dataclasses import dataclass\n{HANDLER}")
    check_handler(path, [tmp_path / "parts.py"])
    with pytest.raises(ModelError, match=r"No module named 'parts' .*'parts\.py' is beside it"):
        check_handler(path, [])


def test_a_handler_with_a_syntax_error_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "my_handler.py"
    path.write_text(f"{HANDLER}\nclass (:\n")
    with pytest.raises(ModelError, match=r"'my_handler\.py' cannot be imported by itself: .*my_handler\.py, line 7"):
        check_handler(path, [])
