"""What is said when a request is not fulfilled: always JSON with a sentence, never a place on this machine."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY
from starlette.types import Scope, Send

from limner.errors import FULL, UserError
from limner.studio.jobs import Busy
from limner.studio.names import without_places
from limner.studio.places import Places
from limner.studio.room import is_full

OURS = "this is a fault of Limner's; what its server has printed tells more"
NO_ROOM = "this cannot be kept, as the disk is full; make room on it, and try again"
LIBRARYS = "Content Too Large"  # what starlette says of a body beyond its route's bound
SENTENCES = {
    404: "there is nothing at this address",
    405: "this address does not take such a request",
}


class Problem(BaseModel):
    """What every answer that is not a success holds."""

    detail: str = Field(description="A sentence: what is wrong, and what to do.")


@dataclass(frozen=True)
class Refusal:
    """headers: beside those that every answer has."""

    status: int
    sentence: str
    headers: Mapping[str, str] = field(default_factory=dict)


def add_answers(app: FastAPI, places: Places) -> None:
    """Let an application answer by sentences that name no place, whatever happens."""
    app.state.places = places
    app.add_exception_handler(UserError, _told)
    app.add_exception_handler(HTTPException, _plain)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(OSError, _no_room)
    app.add_exception_handler(sqlite3.Error, _no_room)
    app.add_exception_handler(Exception, _fault)  # who logs it too: the server prints the traceback


def body(status: int, sentence: str, path: str) -> dict[str, Any]:
    """The answer's; programs that talk to the webui's API look for its fields."""
    if path.startswith("/sdapi/"):
        return {"error": HTTPStatus(status).phrase, "detail": sentence, "body": "", "errors": sentence}
    return {"detail": sentence}


async def answer(refusal: Refusal, scope: Scope, send: Send) -> None:
    """Send a refusal, from outside of the application."""
    headers = [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
    headers.append((b"content-type", b"application/json"))
    text = json.dumps(body(refusal.status, refusal.sentence, scope["path"])).encode()
    headers.append((b"content-length", str(len(text)).encode()))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else text})


def _answer(request: Request, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    # Names of files may be no text at all: half of a pair of surrogates is no UTF-8.
    plain = without_places(sentence.encode("utf-8", "replace").decode(), request.app.state.places)
    return JSONResponse(body(status, plain, request.url.path), status, headers)


async def _told(request: Request, error: Exception) -> JSONResponse:
    """What the person can correct, in the sentence that a command would print."""
    if isinstance(error, Busy):
        return _answer(request, 429, str(error), {"retry-after": str(error.seconds)})
    return _answer(request, 400, str(error))


def too_large(scope: Scope) -> str:
    """What is said of a body beyond the bound of its route."""
    most = scope.get(MAX_BODY_SIZE_SCOPE_KEY, 0) / 1024**2
    return f"this is more than the {most:.0f} MB that may be sent here at once"


async def _plain(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 413 and error.detail == LIBRARYS:
        return _answer(request, 413, too_large(request.scope), error.headers)
    phrase = HTTPStatus(error.status_code).phrase
    is_own = error.detail != phrase
    sentence = str(error.detail) if is_own else SENTENCES.get(error.status_code, phrase.lower())
    return _answer(request, error.status_code, sentence, error.headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """Each field that does not fit and why, without repeating what was sent."""
    assert isinstance(error, RequestValidationError)
    wrong = [f"{_field(each['loc'])}: {each['msg']}" for each in error.errors()[:10]]
    return _answer(request, 422, f"the request does not fit: {'; '.join(wrong)}")


def _field(location: tuple[Any, ...]) -> str:
    names = [str(part) for part in location if part not in ("body", "query", "path")]
    return ".".join(names) or str(location[0])


async def _no_room(request: Request, error: Exception) -> JSONResponse:
    """What could not be written on a full disk; any other such error is a fault."""
    if getattr(error, "errno", None) in FULL or is_full(request.app.state.places.root):
        return _answer(request, 507, NO_ROOM)
    raise error


async def _fault(request: Request, error: Exception) -> JSONResponse:
    return _answer(request, 500, OURS)
