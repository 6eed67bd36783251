"""Errors of the API, in the form that clients of OpenAI's API read.

In: what went wrong, with the status and the field at fault. Out: the JSON response.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import JSONResponse

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class ApiError(Exception):
    """A request that is refused or has failed."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        field: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """field: the field at fault. code: a name for programs, such as `context_length_exceeded`."""
        super().__init__(message)
        self.status, self.field, self.code = status, field, code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the error as OpenAI's API writes it."""
        default = "invalid_request_error" if self.status < 500 else "server_error"
        error = {
            "message": str(self),
            "type": _TYPES.get(self.status, default),
            "param": self.field,
            "code": self.code,
        }
        return {"error": error}

    def response(self) -> JSONResponse:
        """Return the error as a response."""
        return JSONResponse(self.body(), status_code=self.status, headers=self.headers)


def unknown_model(name: str, models: Iterable[str], suggestion: str = "") -> ApiError:
    """Return the error of a request for a model that the server does not have."""
    return ApiError(
        404,
        f"model {name[:100]!r}: there is no such model{suggestion}; there are {', '.join(models) or 'none'}",
        field="model",
        code="model_not_found",
    )
