"""ROAD: remove and debias, pixels replaced by what cannot be told from their neighbours."""

from __future__ import annotations

import torch

from saliency.quality.base import SEED, Judged, Marks
from saliency.quality.imputation import impute
from saliency.rows import Rows

SHARES = (0.2, 0.4, 0.6, 0.8)  # of the pixels that are removed
ROWS = 2 * len(SHARES)


def road(judged: Judged) -> Marks:
    """Mean probability with the last pixels removed less that with the first removed (Rong et al. 2022); high is good.

    The mean is over SHARES of the pixels; the target's probability stands for the paper's accuracy over a data set.
    """
    x = judged.subject.x
    pixels = x.shape[2] * x.shape[3]
    counts = torch.tensor([round(share * pixels) for share in SHARES], device=x.device).view(-1, 1, 1)
    figures = []
    for place in judged.places:
        removed = torch.cat([place < counts, place >= pixels - counts])
        answer = yield Rows(impute(x, removed, SEED))
        most, least = judged.probabilities(answer.logits).split(len(SHARES))
        figures.append((least - most).mean(0))
    return torch.stack(figures)
