"""What follows from the figures of several methods, in sentences; no difference below twice the spread is spoken of."""

from collections.abc import Sequence

from limner.compare.entry import Entry

FORGETS = 0.9  # of the base's prompt fidelity; below, a method is said to forget
COPIES = 0.1  # of the drawings
TELLING = 2  # times the spread over seeds


def advice(entries: Sequence[Entry]) -> list[str]:
    """Sentences for people, the last one saying which method to take. Entries without figures are passed over."""
    judged = [entry for entry in entries if entry.score is not None]
    if not judged:
        return ["Nothing can be said: no method has a figure between what the base draws and the real pictures."]
    if any(entry.deviation is None for entry in judged):
        return [
            "Nothing can be said about which is best: with one picture a prompt the spread is unknown. "
            "Compare again with --count 3 or more."
        ]
    assert judged[0].report is not None
    measure = "closeness to the style" if judged[0].report.main[0] == "style" else "likeness"
    best = max(judged, key=lambda entry: entry.score or 0.0)
    equal = [entry for entry in judged if not differs(best, entry)]
    sentences = [_ranking(best, equal, judged, measure)]
    reference = next((entry for entry in judged if entry.method in ("dreambooth", "full")), best)
    sentences += [_beside(entry, reference, measure) for entry in judged if entry is not reference]
    sentences += [text for entry in judged for text in _warnings(entry)]
    return [*sentences, _choice(judged, equal, measure)]


def differs(one: Entry, other: Entry) -> bool:
    """Whether the figures that count are further apart than twice the larger spread."""
    assert one.score is not None
    assert other.score is not None
    return abs(one.score - other.score) >= TELLING * _noise(one, other) and one.score != other.score


def _noise(one: Entry, other: Entry) -> float:
    return max(one.deviation or 0.0, other.deviation or 0.0)


def _learned(entry: Entry) -> bool:
    """Whether a method is above the floor by more than noise."""
    return (entry.score or 0.0) > TELLING * (entry.deviation or 0.0)


def _ranking(best: Entry, equal: Sequence[Entry], judged: Sequence[Entry], measure: str) -> str:
    if len(judged) == 1:
        return f"{best.label} reaches {best.score:.2f} of the way from the base to the real pictures in {measure}."
    if len(equal) == 1:
        return f"{best.label} has the best {measure}: {best.score:.2f}, where 0 is the base and 1 what it could show."
    names = _listed([entry.label for entry in equal])
    noise = TELLING * max(entry.deviation or 0.0 for entry in equal)
    return (
        f"{names} do not differ in {measure} by more than twice the spread ({noise:.2f}); "
        f"the highest is {best.score:.2f}."
    )


def _beside(entry: Entry, reference: Entry, measure: str) -> str:
    """One method beside the reference: likeness, size and time."""
    assert entry.score is not None
    assert reference.score is not None
    cost = [text for text in (_size(entry, reference), _time(entry, reference)) if text]
    tail = f" {_listed(cost)}" if cost else ""
    if not differs(entry, reference):
        return f"{entry.label}: {reference.label}'s {measure} within the noise{',' if tail else ''}{tail}."
    if reference.score > 0 and entry.score >= 0:
        return f"{entry.label}: {entry.score / reference.score:.0%} of {reference.label}'s {measure}{tail}."
    return f"{entry.label}: {entry.score:.2f} in {measure}, {reference.label} {reference.score:.2f}{tail}."


def _size(entry: Entry, reference: Entry) -> str:
    if entry.trained is None or reference.trained is None:
        return ""
    return _ratio(entry.trained.size_bytes, reference.trained.size_bytes, "size")


def _time(entry: Entry, reference: Entry) -> str:
    if entry.trained is None or reference.trained is None:
        return ""
    return _ratio(entry.trained.seconds, reference.trained.seconds, "time")


def _ratio(value: float, other: float, what: str) -> str:
    """ "at 1/20 of the size", "at 3 times the time"; nothing where they are about the same."""
    ratio = value / max(other, 1e-9)
    if ratio < 0.75:
        part = 1 / max(ratio, 1e-9)
        return f"at 1/{part:,.0f} of the {what}" if part >= 1.5 else f"at {ratio:.0%} of the {what}"
    return f"at {ratio:.2g} times the {what}" if ratio > 1.33 else ""


def _warnings(entry: Entry) -> list[str]:
    report = entry.report
    assert report is not None
    texts = []
    if not _learned(entry):
        texts.append(f"{entry.label} learned next to nothing: train it for longer, or at a higher learning rate.")
    if _forgets(entry):
        assert report.fidelity is not None
        texts.append(
            f"{entry.label} forgets prompts: it keeps {report.fidelity.kept:.0%} of what the base draws besides the "
            "subject. Train it for fewer steps, or use it at a lower weight."
        )
    if report.near_copies > COPIES:
        texts.append(
            f"{entry.label} repeats training pictures: {report.near_copies:.0%} of its drawings are near-copies. "
            "Train it for fewer steps, or add pictures."
        )
    return texts


def _forgets(entry: Entry) -> bool:
    """Whether prompt fidelity is below the bound, and by more than noise below the base's."""
    found = entry.report.fidelity if entry.report else None
    if found is None or found.kept is None or found.over_seeds is None:
        return False
    noise = TELLING * (found.over_seeds.deviation or 0.0)
    return found.kept < FORGETS and 1 - found.kept > noise


def _choice(judged: Sequence[Entry], equal: Sequence[Entry], measure: str) -> str:
    """The smallest file among the best, those that neither forget nor copy first."""
    learned = [entry for entry in equal if _learned(entry)]
    if not learned:
        return "Take none of them yet: no method stands out from the base by more than the noise."
    sound = [entry for entry in learned if not _forgets(entry) and entry.report and entry.report.near_copies <= COPIES]
    taken = min(sound or learned, key=lambda entry: entry.trained.size_bytes if entry.trained else 0)
    if len(judged) == 1:
        return f"Take {taken.label}; there was nothing to compare it with."
    if len(equal) == 1:
        return f"Take {taken.label}: its {measure} is best by more than the noise."
    if len(learned) == 1:
        return f"Take {taken.label}: the only one of them that is above the base by more than the noise."
    why = (
        "the smallest file among the best"
        if not (sound and len(sound) < len(learned))
        else "among the best, the soundest"
    )
    return f"Take {taken.label}: {why}."


def _listed(texts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
