"""The kserve client's data types: importing it reads the command line, which here is pytest's and none of its own."""

from __future__ import annotations

import sys
from unittest.mock import patch

with patch.object(sys, "argv", sys.argv[:1]):
    from kserve import InferInput, InferRequest, InferResponse
    from kserve.protocol.infer_type import RequestedOutput

__all__ = ["InferInput", "InferRequest", "InferResponse", "RequestedOutput"]
