"""What a path is, told by its content: the facts of whatever kind it is of."""

from pathlib import Path

from limner.errors import UserError
from limner.formats import Summary, inspect
from limner.inspection.folder import Folder, examine_folder
from limner.inspection.picture import Picture, examine_picture
from limner.inspection.run import Run, examine_run
from limner.run.folder import RunFolder

Facts = Summary | Picture | Run | Folder
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8")  # how files of these formats begin


def examine(path: Path) -> Facts:
    """Facts about a file of tensors, a picture, the folder of a run or of a model. Raises UserError."""
    if path.is_dir():
        if (path / "model_index.json").is_file():
            return examine_folder(path)
        if RunFolder(path).record_file.is_file():
            return examine_run(path)
        raise UserError(f"{path} is neither the folder of a run nor of a model in diffusers' layout; give one of those")
    try:
        with path.open("rb") as stream:
            start = stream.read(16)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its name and permissions") from error
    return examine_picture(path) if _is_picture(start) else inspect(path)


def _is_picture(start: bytes) -> bool:
    if start.startswith(b"RIFF"):
        return start[8:12] == b"WEBP"
    return start.startswith(_PICTURES) or start[4:12] == b"ftypavif"
