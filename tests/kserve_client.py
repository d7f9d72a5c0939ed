"""The data types of the kserve client; its import parses the command line, so that of pytest is hidden from it."""

from __future__ import annotations

import sys
from unittest.mock import patch

with patch.object(sys, "argv", sys.argv[:1]):
    from kserve import InferInput, InferRequest, InferResponse
    from kserve.protocol.infer_type import RequestedOutput

__all__ = ["InferInput", "InferRequest", "InferResponse", "RequestedOutput"]
