"""A new word for prompts, not yet learned: the vectors of the words that it starts from, in a file on the shelf."""

from collections.abc import Generator
from typing import Any

from limner.errors import UserError
from limner.events import Warned
from limner.formats import save_weights
from limner.library.filenames import clean_stem
from limner.methods.embedding import Embedding, EmbeddingConfig
from limner.studio.names import for_the_page
from limner.studio.requests import EmbeddingRequest
from limner.studio.work.placing import place
from limner.studio.work.task import Task


def perform(request: EmbeddingRequest, task: Task) -> Generator[Warned, None, dict[str, Any]]:
    """Raises UserError if the name is taken or will not do."""
    stem = clean_stem(request.name, "")
    if stem != request.name:
        raise UserError(f"{request.name!r} will not do as the name of a file and of a word; try {stem or 'zqvx'!r}")
    model = task.model(request.base)
    yield from (Warned(for_the_page(message, task.places)) for message in model.warnings)
    method = Embedding(EmbeddingConfig(keyword=stem, vectors=request.vectors, initial=request.initial))
    method.attach(model)
    try:
        weights = method.weights()
    finally:
        method.detach()
    made = task.folder / "made" / f"{stem}.safetensors"
    save_weights(weights, made, model=model)
    placed = place(made, weights.kind, task, replace=request.overwrite)
    if placed.instead_of:
        placed.path.unlink()
        raise UserError(f"there is an embedding {stem} already; take another name, or say that it is to be overwritten")
    return {"files": [placed.to_dict()]}
