"""The studio's server: routes, pages, and around them the guard."""

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp

from limner.studio import sdapi
from limner.studio.answers import Problem, add_answers
from limner.studio.api import datasets as datasets_api
from limner.studio.api import inputs as inputs_api
from limner.studio.api import jobs as jobs_api
from limner.studio.api import methods as methods_api
from limner.studio.api import models as models_api
from limner.studio.api import pictures as pictures_api
from limner.studio.api import runs as runs_api
from limner.studio.api import search as search_api
from limner.studio.api import settings as settings_api
from limner.studio.api import words as words_api
from limner.studio.bounds import Bounds
from limner.studio.gallery import Gallery
from limner.studio.guard import Guard
from limner.studio.inputs import tidy_inputs
from limner.studio.jobs import Jobs
from limner.studio.places import Places
from limner.studio.shelf import Shelf
from limner.studio.state import State
from limner.studio.supervisor import Supervisor

PAGES = Path(__file__).parent / "pages"
VIEWS = ("train", "runs", "generate", "models")  # each an address of the page
MOST_BODY_BYTES = 4 * 1024**2  # of a request, unless its route says how many


def make_app(places: Places, guard: Guard) -> ASGIApp:
    """The application with all that stands around it."""
    return guard.middleware(Bounds(make_api(places)))


def make_api(places: Places) -> FastAPI:
    """The routes; opening it starts the workers' supervisor, closing it lets them save and go."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        jobs = Jobs(places.database)
        supervisor = Supervisor(places, jobs)
        gallery = Gallery(places)
        shelf = Shelf(places.models)
        app.state.studio = State(places, jobs, supervisor, shelf, gallery)
        tidy_inputs(places, gallery, jobs)
        await supervisor.open()
        following = asyncio.create_task(shelf.follow(supervisor.changes))
        yield
        following.cancel()
        await shelf.close()
        await supervisor.close()
        gallery.close()
        jobs.close()

    app = FastAPI(
        title="Limner studio",
        version=importlib.metadata.version("limner"),
        lifespan=lifespan,
        docs_url=None,  # these two load scripts from elsewhere
        redoc_url=None,
        max_body_size=MOST_BODY_BYTES,
        responses={"4XX": {"model": Problem, "description": "What is wrong with the request, in a sentence."}},
    )
    add_answers(app, places)
    app.include_router(settings_api.router, prefix="/api")
    app.include_router(jobs_api.router, prefix="/api")
    app.include_router(runs_api.router, prefix="/api")
    app.include_router(models_api.router, prefix="/api")
    app.include_router(search_api.router, prefix="/api")
    app.include_router(datasets_api.router, prefix="/api")
    app.include_router(methods_api.router, prefix="/api")
    app.include_router(pictures_api.router, prefix="/api")
    app.include_router(words_api.router, prefix="/api")
    app.include_router(inputs_api.router, prefix="/api")
    app.include_router(sdapi.router)
    for view in ("", *VIEWS):
        app.add_api_route(f"/{view}", _page, include_in_schema=False)
    app.mount("/pages", StaticFiles(directory=PAGES), name="pages")
    return app


async def _page() -> FileResponse:
    return FileResponse(PAGES / "index.html")
