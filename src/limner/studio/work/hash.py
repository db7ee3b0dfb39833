"""The hashes of files on the shelf, by which model sites and other programs know them."""

from collections.abc import Generator
from contextlib import closing
from typing import Any

from limner.errors import UserError
from limner.library.reader import Reader
from limner.library.scan import Hashing, PassedOver, hash_files, scan, shelf_root
from limner.library.store import Store
from limner.studio.requests import HashRequest
from limner.studio.work.task import Task


def perform(request: HashRequest, task: Task) -> Generator[Any, None, dict[str, Any]]:
    """Raises UserError for a name that is not on the shelf."""
    root = shelf_root(task.places.models)
    with Store() as store, Reader() as reader:
        yield from scan(store, root, reader)
        found = {name: store.get(root, name) for name in request.names}
        for name, file in found.items():
            if file is None:
                raise UserError(f"there is no model {name!r} on the shelf; look at the models there are")
        files = [file for file in found.values() if file is not None] if found else store.find(root)
        hashed = failed = 0
        with closing(hash_files(store, root, files, reader)) as events:
            for event in events:
                hashed += isinstance(event, Hashing)
                failed += isinstance(event, PassedOver)
                yield event
    return {"hashed": hashed - failed, "failed": failed}
