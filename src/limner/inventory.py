"""What a file or folder holds against what of it was used: the rest is said, never dropped without a word."""

from collections.abc import Iterable

from limner.texts import display

MOST_NAMED = 3  # names in one sentence
UNKNOWN = "Limner does not know what to do with them"


class Inventory:
    """The entries of one thing, such as a file's keys, a folder's files or a tag's parts, each used or left out.

    A reader makes one of all that is there, marks what it uses and what it leaves out on purpose, and hands on the
    sentences of `remarks`. An entry that nobody marked is left out too, and named: forgetting one cannot be silent.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._reasons: dict[str, str | None] = dict.fromkeys(entries, UNKNOWN)

    def use(self, *entries: str) -> None:
        """Mark entries as used. What is not in the inventory is taken in: it was there, for it was used."""
        self._reasons.update(dict.fromkeys(entries))

    def leave(self, reason: str, *entries: str) -> None:
        """Mark entries as left out. reason: a clause without an end, such as "A1111 keeps its own notes there"."""
        self._reasons.update(dict.fromkeys(entries, reason))

    @property
    def used(self) -> list[str]:
        """The entries that were used, in their order."""
        return [entry for entry, reason in self._reasons.items() if reason is None]

    @property
    def left(self) -> dict[str, list[str]]:
        """The entries that were not used, by the reason why."""
        grouped: dict[str, list[str]] = {}
        for entry, reason in self._reasons.items():
            if reason is not None:
                grouped.setdefault(reason, []).append(entry)
        return grouped

    def remarks(self, owner: object, one: str, many: str) -> list[str]:
        """A sentence for each reason: "cat.safetensors: 2 of 9 tensors are not used (a, b): ...".

        owner: the file or folder. one, many: what its entries are called, such as "tensor" and "tensors".
        """
        total = len(self._reasons)
        return [
            f"{display(owner)}: {len(entries)} of {total} {one if total == 1 else many} "
            f"{'is' if len(entries) == 1 else 'are'} not used ({named(entries)}): {reason}"
            for reason, entries in self.left.items()
        ]


def named(entries: list[str], most: int = MOST_NAMED) -> str:
    """A few names and how many more: "a, b, c and 4 more"."""
    shown = ", ".join(display(entry) for entry in entries[:most])
    return shown if len(entries) <= most else f"{shown} and {len(entries) - most} more"
