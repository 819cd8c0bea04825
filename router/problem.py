"""Errors over HTTP: application/problem+json, never a traceback."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web

from coscribe.protocol import encode
from persistence.records import Unavailable

CODES: Final = {413: "too_large"}
"""Where Python's own word for a status is not the same in each of its versions."""

log_event = structlog.get_logger("http")


class Problem(Exception):
    """An answer other than success. `code` is a word for programs, the text one for people."""

    def __init__(
        self, status: HTTPStatus, code: str, text: str, retry_after_s: float | None = None, allow: str | None = None
    ) -> None:
        super().__init__(text)
        self.status, self.code, self.retry_after_s, self.allow = status, code, retry_after_s, allow

    def response(self) -> web.Response:
        body: dict[str, object] = {
            "type": "about:blank", "title": self.status.phrase, "status": self.status.value, "code": self.code,
            "detail": str(self),
        }  # fmt: skip
        headers = {"Cache-Control": "no-store"}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after_s)))
            body["retry_after_s"] = self.retry_after_s
        if self.allow is not None:
            headers["Allow"] = self.allow
        return web.Response(
            status=self.status, body=encode(body), content_type="application/problem+json", headers=headers
        )


@web.middleware
async def problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn what went wrong into a problem; only what is ours to mend is logged with its traceback."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except Unavailable as error:
        log_event.warning("unavailable", path=request.path, error=str(error))
        text = "a service behind this one does not answer; try again soon"
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", text, 1.0).response()
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        status = HTTPStatus(error.status)
        code = CODES.get(status.value, status.name.lower())
        return Problem(status, code, error.reason or status.phrase, allow=error.headers.get("Allow")).response()
    except Exception:  # the last resort of every request: the client gets a word, the log the traceback
        log_event.exception("request failed", path=request.path)
        text = "something went wrong here; it was logged"
        return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", text).response()
