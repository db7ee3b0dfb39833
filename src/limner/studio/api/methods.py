"""The methods, as the page's cards and forms show them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from limner.studio.json_body import JSONRoute
from limner.studio.methods import methods
from limner.studio.state import Studio

router = APIRouter(route_class=JSONRoute, tags=["methods"])


@router.get("/methods")
def list_methods(
    studio: Studio,
    base: Annotated[str, Query(max_length=500, description="A model by its name on the shelf, or pocket.")] = "pocket",
    dataset: Annotated[int | None, Query(ge=1, description="A set of pictures, for the time that it takes.")] = None,
) -> list[dict[str, Any]]:
    """What each gives on a base: its settings, the size of its file, and how long it took on this machine."""
    return methods(studio.jobs, studio.places, base, dataset)
