"""`limner inspect` on the command line: what a file or folder is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limner.cli.output import Output, megabytes
from limner.flat import flat
from limner.formats import Summary
from limner.formats.metadata import RUN_CARD
from limner.formats.verdicts import Verdict
from limner.inspection import examine
from limner.inspection.folder import Folder
from limner.inspection.picture import Picture
from limner.inspection.run import Run
from limner.used import Used

SHOWN = 200  # characters of a value
MOST_ROWS = 100  # of a table of a stranger's metadata
Rows = list[tuple[str, str]]


def show(path: Path, output: Output) -> dict:
    """Whatever lies at a path, its training record or generation text below."""
    facts = examine(path)
    if isinstance(facts, Picture):
        _show(output, _picture(facts), {"says": facts.settings})
    elif isinstance(facts, Run):
        _show(output, _run(facts), {"settings": flat(facts.settings), "versions": facts.versions})
    elif isinstance(facts, Folder):
        _show(output, _folder(facts), {})
    else:
        others = {name: text for name, text in facts.metadata.items() if name != RUN_CARD}
        tables = {"run card": flat(facts.run_card or {}), "metadata": others, "beside its tensors": facts.extras}
        _show(output, _file(facts), tables)
    return facts.as_dict()


def _show(output: Output, rows: Rows, tables: Mapping[str, Mapping[str, Any]]) -> None:
    output.table(("", ""), [row for row in rows if row[1]])
    for title, values in tables.items():
        shown = [(str(name), short(value)) for name, value in list(values.items())[:MOST_ROWS]]
        if len(values) > MOST_ROWS:
            shown.append(("...", f"and {len(values) - MOST_ROWS} more, with --json"))
        if shown:
            output.table((title, ""), shown)


def _file(facts: Summary) -> Rows:
    is_pickle = facts.container == "pickle"
    return [
        ("file", f"{facts.path} ({megabytes(facts.size_bytes)}{', a pickle' if is_pickle else ''})"),
        ("kind", f"{facts.kind}, for {facts.family}, {facts.naming} names"),
        ("known by", "; ".join(facts.reasons)),
        ("predicts", facts.prediction_type or ""),
        ("not opened", facts.refusal),
        *(("beware", warning) for warning in facts.warnings),
        ("method", facts.method or ""),
        ("keyword", facts.keyword or ("not said" if facts.blocks else "")),
        ("commonest tags", ", ".join(facts.tags) if facts.keyword is None else ""),
        ("vectors", _counts(facts.vectors)),
        ("brings along", ", ".join(facts.words)),
        ("layers" if facts.blocks else "tensors", _counts(facts.modules)),
        *((f"  {name}", _block(block)) for name, block in facts.blocks.items()),
        ("number format", _counts(facts.dtypes)),
        *_verdicts(facts.programs),
        ("SHA-256", facts.sha256),
        ("AutoV1, V2, V3", ", ".join(filter(None, (facts.autov1, facts.autov2, facts.autov3)))),
        ("webui's hash", facts.webui_hash + _doubt(facts.hash_matches)),
        ("modelspec's hash", (facts.modelspec_hash or "")[:14] + _doubt(facts.modelspec_matches)),
    ]


def _block(block: Any) -> str:
    parts = [f"{block.modules} layers"]
    if block.ranks:
        parts.append(f"rank {_counts(block.ranks)}")
    if block.alphas:
        parts.append(f"alpha {_counts(block.alphas)}")
    return ", ".join(parts)


def _verdicts(programs: Mapping[str, Verdict]) -> Rows:
    rows = [("loads in", ", ".join(name for name, verdict in programs.items() if verdict.loads and not verdict.says))]
    for name, verdict in programs.items():
        if verdict.says:
            title = "not known" if verdict.loads is None else "loads, but" if verdict.loads else "does not load"
            rows.append((title, f"{name} {verdict.says}"))
    silent = [name for name, verdict in programs.items() if verdict.loads is None and not verdict.says]
    return [*rows, ("not known", ", ".join(silent))]


def _picture(facts: Picture) -> Rows:
    return [
        ("picture", f"{facts.path} ({facts.format}, {facts.width}x{facts.height}, {megabytes(facts.size_bytes)})"),
        ("generation text", "" if facts.says else "none in the webui's words"),
        ("holds", f"an embedding, {_counts(facts.holds)}" if facts.holds else ""),
        ("prompt", facts.prompt),
        ("negative prompt", facts.negative_prompt),
        ("model", _used(facts.model) if facts.model else ""),
        *(("LoRA", _used(each)) for each in facts.loras),
        *(("embedding", _used(each)) for each in facts.embeddings),
        ("SHA-256", facts.sha256),
    ]


def _used(used: Used) -> str:
    parts = [used.name or "not named"]
    if used.text_strength is not None and used.unet_strength is not None:
        one, other = used.text_strength, used.unet_strength
        parts.append(f"at {one:g}" if one == other else f"at {one:g} on the text, {other:g} on the UNet")
    return ", ".join([*parts, f"hash {used.hash}" if used.hash else "no hash said"])


def _run(facts: Run) -> Rows:
    learned = f"{len(facts.pictures)} pictures"
    if facts.held_out:
        learned += f", judged by {len(facts.held_out)} others"
    if facts.class_pictures:
        learned += f", {len(facts.class_pictures)} of the class"
    return [
        ("run", facts.path),
        *(("beware", warning) for warning in facts.warnings),
        ("learned from", learned),
        ("base", facts.base),
        (
            "steps",
            f"{facts.steps} in {facts.seconds:.0f} s" + ("" if facts.loss is None else f", loss {facts.loss:.4f}"),
        ),
        ("measured last", ", ".join(f"{name} {value:.3f}" for name, value in facts.measured.items())),
        ("states kept", ", ".join(map(str, facts.kept))),
    ]


def _folder(facts: Folder) -> Rows:
    return [
        ("folder", f"{facts.path} ({megabytes(facts.size_bytes)})"),
        ("kind", f"{facts.kind}, of {facts.family}"),
        ("known by", "; ".join(facts.reasons)),
        ("predicts", facts.prediction_type),
        ("not opened", facts.refusal),
        *(("beware", warning) for warning in facts.warnings),
        ("tensors", _counts(facts.parts)),
        ("number format", _counts(facts.dtypes)),
        *_verdicts(facts.programs),
        ("SHA-256", facts.sha256 or ""),
    ]


def _counts(counts: Mapping[Any, int]) -> str:
    """{16: 192} -> "16"; {"unet": 3, "vae": 2} -> "unet (3), vae (2)"."""
    if len(counts) == 1 and not isinstance(next(iter(counts)), str):
        return f"{next(iter(counts)):g}"
    return ", ".join(f"{value} ({count})" for value, count in counts.items())


def _doubt(matches: bool | None) -> str:
    return ", as the file says, but its contents have another" if matches is False else ""


def short(value: Any) -> str:
    if isinstance(value, list | tuple):
        first = ", ".join(str(each)[:12] for each in value[:3])
        return f"{len(value)} entries: {first}{', ...' if len(value) > 3 else ''}"
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
