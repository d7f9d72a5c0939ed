"""The answers of the page's server, with errors in the same shape as those of the models."""

from __future__ import annotations

from starlette.responses import JSONResponse

from torchserve_saliency.errors import RequestError


def error_response(error: RequestError) -> JSONResponse:
    """Return an error as JSON: code, type, message, and the option if one caused it."""
    return JSONResponse(error.body(), error.status)


def too_large() -> RequestError:
    """Return the error for a picture that TorchServe did not read to its end, since it is too large."""
    message = "TorchServe does not take a file of this size: its limit is max_request_size in config.properties"
    return RequestError(413, "RequestTooLargeException", message, "data")
