"""What the work on a job is given beside its request."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.base import pocket
from limner.base.announce import about_base
from limner.config import nearest
from limner.errors import UserError
from limner.files import is_locked
from limner.library.reader import Reader
from limner.library.scan import scan, shelf_root
from limner.library.shelf import Stamp
from limner.library.store import Store
from limner.studio.control import asked
from limner.studio.places import Places

if TYPE_CHECKING:
    from limner.base.model import BaseModel

THREADS = "threads"
MODEL = "model"  # what is kept under this name: ((source, its file's stamp), the open model)


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

    def model(self, name: str) -> "BaseModel":
        """A base, opened; as it was for the last job if that had the same. Raises UserError."""
        from limner.api import load  # here, for it brings torch, and much of the work wants none

        source = self.base(name)
        key = source, Stamp.of(Path(source)) if Path(source).is_file() else None
        held, model = self.kept.get(MODEL, (None, None))
        if held != key or model is None:
            self.kept.pop(MODEL, None)  # before the next one is opened: two may be too large
            model = load(source)
            self.kept[MODEL] = key, model
        self._share()
        return model

    def opens(self, name: str) -> str:
        """What of a base on the shelf has to be opened first, in words; "" if it is open."""
        path = self.places.models / name
        source = str(path) if name != pocket.NAME and path.exists() else name
        held, _ = self.kept.get(MODEL, (None, None))
        return "" if held is not None and Path(held[0]).name == Path(source).name else f"opening {about_base(source)}"

    def _share(self) -> None:
        """One core beside a training, whose threads wait for each other: each that is held up holds up all."""
        import torch

        most = self.kept.setdefault(THREADS, torch.get_num_threads())
        torch.set_num_threads(1 if is_locked(self.places.training) else most)

    def base(self, name: str) -> str:
        """What a base's name on the shelf means to the library; raises UserError if it is not there."""
        if name in ("", pocket.NAME):
            return pocket.NAME
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
