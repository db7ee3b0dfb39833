"""JSON that others send: bounded before it is parsed, and parsed where it keeps nobody else waiting."""

import json
import math
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

MOST_DEPTH = 64  # arrays and objects inside each other
MOST_PARTS = 500_000  # strings, numbers and marks in one request: a dataset may have 10,000 images with ten values each
MOST_BETWEEN = 8 * 1024**2  # bytes that are in no string: only strings, such as an image in base64, are long
SMALL = 64 * 1024  # bytes that are parsed faster than a thread is woken

# A whole string, a bracket, or a stretch without either. Possessive: a string that never ends is read once.
_PARTS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{\]}]|[^"\[{\]}]{1,4096}+', re.DOTALL)


class JSONRoute(APIRoute):
    """A route whose JSON body is bounded in depth and number of values, and plain; any other is refused with 422."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_bounded(request: Request) -> Response:
            if self.body_field is not None and _is_json(request):
                body = await request.body()
                value = load_json(body) if len(body) < SMALL else await run_in_threadpool(load_json, body)
                if value is not None:
                    request._json = value  # where Request.json() keeps what it has parsed
            return await handle(request)

        return handle_bounded


def load_json(body: bytes) -> Any:
    """The value of a JSON text; None if it is none, which the route's own parser then says best.

    Raises HTTPException 422 for one that is too deep or has too many values, and for what Python reads but cannot
    write again: halves of surrogate pairs, infinities, and zero bytes, which no file's name may hold.
    """
    depth = between = commas = 0
    for number, part in enumerate(_PARTS.finditer(body)):
        mark = body[part.start()]
        if mark in b"[{":
            depth += 1
        elif mark in b"]}":
            depth -= 1
        elif mark != 0x22:  # the mark that begins a string
            between += part.end() - part.start()
            commas += body.count(b",", *part.span())
        if depth > MOST_DEPTH:
            raise HTTPException(422, f"the request nests more than {MOST_DEPTH} lists and tables in each other")
        if number + commas > MOST_PARTS or between > MOST_BETWEEN:
            raise HTTPException(422, "the request holds too many values for one request; send it in parts")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not _is_plain(value):
        raise HTTPException(422, "the request holds a text or a number that cannot be written down")
    return value


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind.startswith("application/") and (kind == "application/json" or kind.endswith("+json"))


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" not in value and (value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value))
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list):
        return all(_is_plain(each) for each in value)
    if isinstance(value, dict):
        return all(_is_plain(name) and _is_plain(each) for name, each in value.items())
    return True
