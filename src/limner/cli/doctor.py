"""`limner doctor` as a person calls it."""

import dataclasses

from limner.cli.output import Output
from limner.config import DoctorSettings
from limner.config.studio import studio_folder

MARKS = {"good": "ok", "note": "note", "wrong": "WRONG"}


def show_doctor(settings: DoctorSettings, output: Output) -> dict:
    from limner.doctor import examine

    findings = []
    for finding in examine(settings.models, settings.cache, studio_folder()):
        findings.append(finding)
        output.result(f"{MARKS[finding.state]:<6}{finding.what}: {finding.says}")
        if finding.fix:
            output.result(f"      -> {finding.fix}")
    wrong = [finding.what for finding in findings if finding.state == "wrong"]
    if wrong:
        output.say(f"{len(wrong)} of {len(findings)} need something done: {', '.join(wrong)}")
    else:
        output.say("everything that Limner needs is there; limner demo shows it at work")
    return {"findings": [dataclasses.asdict(finding) for finding in findings], "wrong": wrong}
