"""The settings of the commands, as the page's forms are made from them."""

from typing import Any

from fastapi import APIRouter, HTTPException

from limner.studio.forms import FORMS, form
from limner.studio.json_body import JSONRoute
from limner.studio.requests import InitRequest

router = APIRouter(route_class=JSONRoute, tags=["settings"])

INIT = "init"  # of a request to draw


@router.get("/settings/{command}")
def settings(command: str) -> list[dict[str, Any]]:
    """The sections of a command's form, each with its fields; init: of what drawing starts from."""
    if command == INIT:
        return form(InitRequest, known={"images", "mask"})
    if command not in FORMS:
        raise HTTPException(404, f"there is no form for {command!r}; there are {', '.join([*FORMS, INIT])}")
    return form(FORMS[command])
