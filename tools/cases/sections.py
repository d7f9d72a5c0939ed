"""All cases, in the order of their numbers."""

from __future__ import annotations

from tools.cases import answers, checkpoints, first_day, networks, notebooks, requests
from tools.cases.case import Case

CASES: tuple[Case, ...] = (
    *answers.CASES,
    *checkpoints.CASES,
    *networks.CASES,
    *requests.CASES,
    *notebooks.CASES,
    *first_day.CASES,
)
