"""`limner keyword`: what a base makes of a keyword, and better ones."""

import time

from limner.cli.opening import open_with_bar
from limner.cli.output import Output, duration, quoted
from limner.config import KeywordSettings
from limner.data.keyword import COMMON_BELOW
from limner.evaluate.reaction import Reaction
from limner.files import has_mark, new_file, require_ours, require_writable
from limner.generate import Request
from limner.infotext import marked
from limner.keyword import Advice, Token, advise, sheet

MARK = b"limner keyword"  # stands in the picture, so that the next time it may be replaced


def tell(settings: KeywordSettings, output: Output) -> dict:
    """Measure, and show tokens, figures, verdict and proposals."""
    if settings.out is not None:
        require_ours(settings.out, MARK)
        require_writable(settings.out)
    model = open_with_bar(settings, output)
    request = Request("", steps=settings.drawing_steps, seed=settings.seed, count=settings.count)
    began = time.monotonic()
    measuring = advise(model, settings.keyword, settings.class_word, request, settings.proposals)
    with output.progress("measurement", 0) as bar:
        while True:
            try:
                progress = next(measuring)
            except StopIteration as end:
                advice: Advice = end.value
                break
            bar.total = progress.total
            bar.at(progress.done)
    _show(advice, output)
    seconds = time.monotonic() - began
    if settings.out is not None:
        with new_file(settings.out, is_ours=lambda path: has_mark(path, MARK)) as new:
            sheet(advice).save(new.temporary, "PNG", pnginfo=marked(MARK))
        output.result(f"pictures: {quoted(new.path)}")
    output.say(f"done in {duration(seconds)}")
    file = None if settings.out is None else str(new.path)
    return advice.to_dict() | {"file": file, "seconds": round(seconds, 3)}


def _show(advice: Advice, output: Output) -> None:
    for tokens, encoders in _by_tokens(advice).items():
        said = ", ".join(f"{token.text} ({token.id:,}{_rarity(token)})" for token in tokens)
        output.result(f"tokens of {' and '.join(encoders)}: {said}, of {advice.vocabulary:,}")
    figures = advice.reaction
    rows = [
        ("predictions of the network", figures.noise),
        ("states of the text", figures.text),
        ("predictions, from those without it", figures.shift),
        ("pictures, from those without it", advice.moved),
    ]
    shown = [(name, each.score, each.floor, each.ceiling, _share(each.normalised)) for name, each in rows]
    columns = ("distance", "keyword", "never seen words", "known words", "share of known")
    output.table(columns, [(name, *(f"{value:.3f}" for value in values), share) for name, *values, share in shown])
    if advice.problem:
        output.warn(advice.problem)
    if advice.trap:
        output.warn(f"{advice.keyword!r} is known to draw {advice.trap[0]} with Stable Diffusion ({advice.trap[1]})")
    output.result(advice.sentence)
    proposed = [
        (each.word, " ".join(token.text for token in each.tokens), *_shares(each.reaction)) for each in advice.proposals
    ]
    if proposed:
        output.table(("instead", "tokens", "means", "changes the picture"), proposed)


def _by_tokens(advice: Advice) -> dict[tuple[Token, ...], list[str]]:
    """The text encoders that read the keyword alike."""
    found: dict[tuple[Token, ...], list[str]] = {}
    for encoder, tokens in advice.tokens.items():
        found.setdefault(tokens, []).append(encoder)
    return found


def _rarity(token: Token) -> str:
    return ", rare" if token.id >= COMMON_BELOW else ""


def _shares(reaction: Reaction) -> tuple[str, str]:
    return _share(reaction.meaning), _share(reaction.shift.normalised)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
