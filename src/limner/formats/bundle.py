"""Embeddings inside a LoRA's file: `bundle_emb.NAME.string_to_param.*`, and `.clip_l` and `.clip_g` for XL."""

from pathlib import Path

from limner.errors import UserError
from limner.formats.identify import BUNDLE

# What a bundled embedding's tensors are called, behind its name, by text encoder: of a base with one, and with two.
BUNDLED = {1: {"text_encoder": ".string_to_param.*"}, 2: {"text_encoder": ".clip_l", "text_encoder_2": ".clip_g"}}


def bundled_name(word: str, network: str = "text_encoder", encoders: int = 1) -> str:
    """The tensor's name of an embedding inside the file, as the webui has it, for one text encoder of a base with so
    many. Raises UserError if the word cannot be one."""
    if "." in word:
        raise UserError(
            f"a LoRA cannot bring along the embedding {word!r}, for its name has a dot; choose another name"
        )
    return f"{BUNDLE}{word}{BUNDLED[encoders][network]}"


def bundled_word(key: str, path: Path) -> tuple[str, str]:
    """A bundled embedding's name, and the text encoder of one of its tensors."""
    for names in BUNDLED.values():
        for network, leaf in names.items():
            word = key.removeprefix(BUNDLE).removesuffix(leaf)
            if key.endswith(leaf) and word and "." not in word:
                return word, network
    raise UserError(f"{path} holds {key}, which is no embedding of a known layout; use another file")
