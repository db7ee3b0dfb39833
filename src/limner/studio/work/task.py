"""What the work on a job is given beside its request."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.base import pocket
from limner.config import nearest
from limner.errors import UserError
from limner.library.reader import Reader
from limner.library.scan import scan, shelf_root
from limner.library.store import Store
from limner.studio.control import asked
from limner.studio.places import Places


@dataclass(frozen=True)
class Task:
    """number: the job's. attempt: counted from 1. kept: what this worker keeps open for its next job."""

    number: int
    places: Places
    attempt: int
    kept: dict[str, Any]

    @property
    def folder(self) -> Path:
        return self.places.job(self.number)

    @property
    def asked(self) -> str:
        """What the person says meanwhile: a word of control.py."""
        return asked(self.folder)

    def base(self, name: str) -> str:
        """What a base's name on the shelf means to the library; raises UserError if it is not there."""
        if name == pocket.NAME:
            return name
        root = shelf_root(self.places.models)
        with Store() as store, Reader() as reader:
            found = store.get(root, name)
            if found is None:  # it may be new
                for _ in scan(store, root, reader):
                    pass
                found = store.get(root, name)
            if found is not None and found.kind == "checkpoint":
                return str(found.path)
            near = nearest(name, [file.name for file in store.find(root, kinds=["checkpoint"])])
            hint = f"did you mean {near!r}?" if near else "look at the models there are"
            raise UserError(f"there is no base {name!r} on the shelf; {hint}")
