"""What the server holds while it runs, and how a route comes by it."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from limner.studio.gallery import Gallery
from limner.studio.history import Histories
from limner.studio.jobs import Jobs
from limner.studio.places import Places
from limner.studio.shelf import Shelf
from limner.studio.supervisor import Supervisor


@dataclass(frozen=True)
class State:
    places: Places
    jobs: Jobs
    supervisor: Supervisor
    shelf: Shelf
    gallery: Gallery
    histories: Histories = field(default_factory=Histories)


def state_of(request: Request) -> State:
    return request.app.state.studio


Studio = Annotated[State, Depends(state_of)]
