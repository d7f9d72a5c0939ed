"""Findings of a day of use as a new user."""

from __future__ import annotations

import json

from tools.cases.archiving_day import accuracy_on_a_folder, imports_that_are_missing
from tools.cases.case import Case, check
from tools.cases.commands import command_on_folders, commands_of_the_client
from tools.cases.drawn_maps import captions, coarse_grids
from tools.cases.inputs import LABELS, archive_small
from tools.cases.workshop import Workshop


def names_of_classes(workshop: Workshop) -> str:
    """F7: the names of the classes are described, also on the inference routes."""
    handler = workshop.handler(archive_small(workshop))
    described = json.loads(json.dumps(handler.describe()))
    check(described["labels"] == len(LABELS), f"labels: {described['labels']}")
    check(described["label_names"] == list(LABELS), f"label_names: {described['label_names']}")
    for answer in (
        handler.ask({"describe": b"true"}, explain=False),
        handler.ask({"body": {"describe": True}}),
        handler.ask({"body": b""}, path="describe=true"),
    ):
        check(answer.status == 200 and answer.body == described, f"{answer.status}: {str(answer.body)[:200]}")
    return f"label_names: {', '.join(LABELS)}; describe=true asks with the inference token"


CASES: tuple[Case, ...] = (
    Case("F2", "the command explain on a folder with subfolders", command_on_folders),
    Case("F3", "pictures without class, method and scale; 32 pixels", captions),
    Case("F4", "a Grad-CAM grid of 4 x 4", coarse_grids),
    Case("F5", "the wrong --input-size; a summary without mean and std", accuracy_on_a_folder),
    Case("F6", "feature_maps, activation_maximization, format=png, --help, an empty folder", commands_of_the_client),
    Case("F7", "the names of the classes", names_of_classes),
    Case("F9", "an import that the archive does not hold; a --model-file that fails", imports_that_are_missing),
)
