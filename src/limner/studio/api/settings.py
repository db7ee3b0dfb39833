"""The settings of the commands, as the page's forms are made from them."""

from typing import Any

from fastapi import APIRouter, HTTPException

from limner.studio.forms import FORMS, form

router = APIRouter(tags=["settings"])


@router.get("/settings/{command}")
def settings(command: str) -> list[dict[str, Any]]:
    """The sections of a command's form, each with its fields."""
    if command not in FORMS:
        raise HTTPException(404, f"there is no form for {command!r}; there are {', '.join(FORMS)}")
    return form(FORMS[command])
