"""What a base makes of a keyword, by the model that draws, so that it need not be opened again."""

from collections.abc import Generator
from typing import Any

from limner.events import Event, Prepared
from limner.generate import Request
from limner.generators import retold
from limner.keyword import HARDLY, Advice, advise, sheet
from limner.studio.feed import Drawn
from limner.studio.requests import KeywordRequest
from limner.studio.work.task import Task

QUALITY = {"good": "good", "fair": "means a little to the base already", "unknown": "nothing can be said"}


def perform(request: KeywordRequest, task: Task) -> Generator[Event | Drawn, None, dict[str, Any]]:
    """Raises UserError."""
    yield Prepared(0, 1, "opening the base")
    model = task.model(request.base)
    measuring = advise(
        model,
        request.keyword,
        request.class_word,
        Request("", steps=request.drawing_steps, count=request.count),
        request.proposals,
    )
    advice = yield from retold(measuring, lambda told: Prepared(told.done, told.total, "asking the base"))
    path = task.folder / "keyword.png"
    sheet(advice).save(path)
    yield Drawn(path, 0, "")
    return _plain(advice)


def _plain(advice: Advice) -> dict[str, Any]:
    return {
        "keyword": advice.keyword,
        "verdict": advice.verdict,
        "short": f"{advice.keyword}: {_short(advice)}",
        "sentence": advice.sentence,
        "problem": advice.problem,
        "trap": None if advice.trap is None else f"with Stable Diffusion it draws {advice.trap[0]}",
        "like": list(advice.like),
        "proposals": [each.word for each in advice.proposals if (each.reaction.meaning or 0.0) <= HARDLY],
    }


def _short(advice: Advice) -> str:
    if advice.verdict == "poor":
        like = f", much like {advice.like[0]}" if advice.like else ""
        return f"the base knows it already{like}"
    if advice.verdict == "fair" and (advice.reaction.meaning or 0.0) <= HARDLY:
        return "a common word, whose old meaning would mix with the new one"
    return QUALITY[advice.verdict]
