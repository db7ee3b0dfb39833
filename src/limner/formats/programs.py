"""What each program is known to make of each form of the LoRA family (interop 1.7), in words for people."""

WRONG_AXIS = "divides by the lengths of the columns, not the rows, so that its pictures are wrong"
OLD_LENGTHS = "divides by the lengths that the rows had before training, so that its pictures differ somewhat"
NO_LENGTHS = "leaves out the learned lengths, so that its pictures differ"
REFUSES = "refuses the file"
APPLIES_NOTHING = "applies nothing of the file"
IGNORES = "leaves out what it does not know, which is all of it"

# {form: {reader: what it does instead of what was trained}}; who is not named does it right, or the file is not kept.
FAULTS: dict[str, dict[str, str]] = {
    "lora": {},
    "dora": {
        "A1111": WRONG_AXIS,
        "Forge": OLD_LENGTHS,
        "ComfyUI": OLD_LENGTHS,
        "stable-diffusion.cpp": NO_LENGTHS,
        "diffusers": NO_LENGTHS,
    },
    "tucker lora": {"diffusers": REFUSES},
    "loha": {"diffusers": REFUSES},
    "lokr": {"diffusers": REFUSES},
    "oft": {"Forge": APPLIES_NOTHING, "stable-diffusion.cpp": IGNORES, "diffusers": REFUSES},
    "ia3": {
        "Forge": APPLIES_NOTHING,
        "ComfyUI": IGNORES,
        "stable-diffusion.cpp": IGNORES,
        "diffusers": REFUSES,
    },
}
READERS = ("A1111", "Forge", "ComfyUI", "stable-diffusion.cpp", "diffusers")


def faults(form: str, by_column: bool = False) -> dict[str, str]:
    """What the readers do wrongly with a form; with one of a package outside Limner, all of them nothing.

    by_column: whether DoRA's lengths are those of columns, as older trainers have it, which the webuis divide by.
    """
    known = FAULTS.get(form, dict.fromkeys(READERS, IGNORES))
    return {reader: fault for reader, fault in known.items() if not by_column or fault == NO_LENGTHS}
