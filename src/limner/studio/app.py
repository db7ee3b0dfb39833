"""The studio's server: routes, pages, and around them the guard."""

import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from limner.errors import UserError
from limner.studio.api import datasets as datasets_api
from limner.studio.api import jobs as jobs_api
from limner.studio.api import methods as methods_api
from limner.studio.api import settings as settings_api
from limner.studio.guard import Guard
from limner.studio.jobs import Jobs
from limner.studio.places import Places
from limner.studio.state import State
from limner.studio.supervisor import Supervisor

PAGES = Path(__file__).parent / "pages"
VIEWS = ("train", "runs", "generate", "models")  # each an address of the page


def make_app(places: Places, guard: Guard) -> FastAPI:
    """The application; opening it starts the workers' supervisor, closing it lets them save and go."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        jobs = Jobs(places.database)
        supervisor = Supervisor(places, jobs)
        app.state.studio = State(places, jobs, supervisor)
        await supervisor.open()
        yield
        await supervisor.close()
        jobs.close()

    app = FastAPI(
        title="Limner studio",
        version=importlib.metadata.version("limner"),
        lifespan=lifespan,
        docs_url=None,  # these two load scripts from elsewhere
        redoc_url=None,
    )
    app.add_middleware(guard.middleware)
    app.add_exception_handler(UserError, _told)
    app.include_router(settings_api.router, prefix="/api")
    app.include_router(jobs_api.router, prefix="/api")
    app.include_router(datasets_api.router, prefix="/api")
    app.include_router(methods_api.router, prefix="/api")
    for view in ("", *VIEWS):
        app.add_api_route(f"/{view}", _page, include_in_schema=False)
    app.mount("/pages", StaticFiles(directory=PAGES), name="pages")
    return app


async def _page() -> FileResponse:
    return FileResponse(PAGES / "index.html")


async def _told(request: Request, error: Exception) -> JSONResponse:
    """What the person can correct, in the sentence that a command would print."""
    return JSONResponse({"detail": str(error)}, status_code=400)
