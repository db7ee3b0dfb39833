"""`limner evaluate`: a file's figures."""

from limner.base.open import open_base
from limner.cli.output import Output, duration
from limner.config import EvaluateSettings, Judging
from limner.data.folder import load_folder
from limner.device import choose_device, choose_dtype
from limner.errors import UserError
from limner.evaluate.clip import Clip
from limner.evaluate.judge import Progress, iterate_evaluation
from limner.evaluate.pictures import Learned
from limner.evaluate.protocol import Evidence, make_protocol
from limner.evaluate.report import Report
from limner.generate import Request


def judge(settings: EvaluateSettings, output: Output) -> dict:
    """Draw with and without the file, and compare with real pictures."""
    learned = Learned(settings.file, settings.strength)
    folder = load_folder(settings.images)
    for skipped in folder.skipped:
        output.warn(f"{skipped.path} {skipped.reason}; it is left out")
    hashes = learned.run_card.get("images_sha256")
    evidence = Evidence.of(folder.pictures, {str(each) for each in hashes} if isinstance(hashes, list) else ())
    protocol, evidence = make_protocol(
        evidence,
        settings.keyword or learned.keyword,
        settings.class_word or learned.class_word,
        request_of(settings, settings.seed),
        settings.prompt,
        None if settings.subject == "auto" else settings.subject,
        settings.floor,
        settings.strength,
    )
    clip = None if settings.clip is None else Clip(settings.clip)
    device = choose_device(settings.device)
    model = open_base(settings.base, device, choose_dtype(settings.precision, device))
    report = None
    with output.progress("picture", 0) as bar:
        for each in iterate_evaluation(model, learned, evidence, protocol, clip):
            if isinstance(each, Progress):
                bar.total = each.total
                bar.at(each.done)
            else:
                report = each
    assert isinstance(report, Report)
    for line in report.lines():
        output.result(line)
    output.say(f"done in {duration(report.seconds)}")
    return report.to_dict() | {"prompt_list": list(protocol.prompts)}


def request_of(settings: Judging, seed: int) -> Request:
    """What the settings say of the drawings. Raises UserError for a count that leaves no seeds."""
    if seed + settings.count >= 2**63:
        raise UserError(f"seed {seed} leaves no room for {settings.count} pictures; take a smaller one")
    return Request("", steps=settings.drawing_steps, cfg_scale=settings.cfg_scale, seed=seed, count=settings.count)
