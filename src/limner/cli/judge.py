"""`limner evaluate`: a LoRA file's figures."""

import re

from limner.base.open import open_base
from limner.cli.output import Output, duration
from limner.config import EvaluateSettings
from limner.data.caption import caption_for
from limner.data.folder import Picture, load_folder
from limner.device import choose_device, choose_dtype
from limner.evaluate.report import Progress, Protocol, Report, iterate_evaluation
from limner.formats import Summary, inspect
from limner.generate import Request

MOST_PROMPTS = 12  # of those that are taken from captions


def judge(settings: EvaluateSettings, output: Output) -> dict:
    """Draw with and without the file, and compare with real pictures."""
    summary = inspect(settings.file)
    folder = load_folder(settings.images)
    for skipped in folder.skipped:
        output.warn(f"{skipped.path} {skipped.reason}; it is left out")
    card = summary.run_card or {}
    class_word = str(_table(card, "settings").get("class", ""))
    prompts = settings.prompt or _captions(folder.pictures, summary, class_word)
    hashes = card.get("images_sha256")
    trained = {str(each) for each in hashes} if isinstance(hashes, list) else set()
    request = Request("", steps=settings.steps, cfg_scale=settings.cfg_scale, seed=settings.seed, count=settings.count)
    protocol = Protocol(prompts, _without_keyword(prompts, summary), strength=settings.strength, request=request)
    device = choose_device(settings.device)
    model = open_base(settings.base, device, choose_dtype(settings.precision, device))
    report = None
    with output.progress("picture", 0) as bar:
        for each in iterate_evaluation(model, settings.file, folder.pictures, protocol, trained):
            if isinstance(each, Progress):
                bar.total = each.total
                bar.at(each.done)
            else:
                report = each
    assert isinstance(report, Report)
    for line in report.lines():
        output.result(line)
    output.say(f"done in {duration(report.seconds)}")
    return report.to_dict() | {"prompt_list": list(prompts)}


def _captions(pictures: list[Picture], summary: Summary, class_word: str) -> tuple[str, ...]:
    """Different captions of the pictures, with the file's keyword, evenly chosen if there are many."""
    captions = list(dict.fromkeys(caption_for(picture, summary.keyword or "", class_word) for picture in pictures))
    captions = [caption for caption in captions if caption] or ["a picture"]
    return tuple(captions[:: -(-len(captions) // MOST_PROMPTS)])


def _without_keyword(prompts: tuple[str, ...], summary: Summary) -> tuple[str, ...]:
    """The prompts as they would be without the new word: what they give should not have changed."""
    if not summary.keyword:
        return ()
    word = re.compile(rf"(?<!\w){re.escape(summary.keyword)}(?!\w)", re.IGNORECASE)
    texts = (re.sub(r"\s+", " ", word.sub("", prompt)).strip(" ,") for prompt in prompts)
    return tuple(text for text in dict.fromkeys(texts) if text)


def _table(card: dict, name: str) -> dict:
    """A table of a run card, which anybody may have written."""
    table = card.get(name)
    return table if isinstance(table, dict) else {}
