"""When a batch must have been answered: TorchServe ends a worker that lets its responseTimeout pass."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from saliency.errors import RequestError


@dataclass(frozen=True)
class Deadline:
    """A moment of the monotonic clock, in seconds; by default it never comes."""

    at: float = math.inf

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline that is so many seconds away."""
        return cls(time.monotonic() + seconds)

    def later(self, seconds: float) -> Deadline:
        """Return the deadline that is so many seconds after this one."""
        return Deadline(self.at + seconds)

    @property
    def passed(self) -> bool:
        """Return whether it is too late to begin anything."""
        return time.monotonic() >= self.at


NEVER = Deadline()


def too_late() -> RequestError:
    """Return what a request is told that its batch's time did not suffice for."""
    said = "the server had no time left for this request: ask again, for fewer samples, steps or targets"
    return RequestError(500, "DeadlineException", said)
