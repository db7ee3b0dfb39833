"""Embeddings inside a LoRA's file: `bundle_emb.NAME.string_to_param.*`, and `.clip_l` and `.clip_g` for XL."""

from collections.abc import Mapping

from torch import Tensor

from limner.base.family import Family
from limner.container.header import all_finite
from limner.errors import UserError
from limner.formats.identify import BUNDLE
from limner.inventory import UNKNOWN, Inventory

# What a bundled embedding's tensors are called, behind its name, by text encoder: of a base with one, and with two.
BUNDLED = {1: {"text_encoder": ".string_to_param.*"}, 2: {"text_encoder": ".clip_l", "text_encoder_2": ".clip_g"}}
OUTPUT = "_out"  # ends OneTrainer's names of vectors that take the place of what a text encoder makes of the word
AT_OUTPUT = "OneTrainer puts such vectors in place of what the text encoder makes of a word, which nothing else does"
_HALF = "the base has other text encoders than the embedding has vectors for"
_SHAPE = "they are no vectors of an embedding"
_NAMELESS = "no prompt can say an embedding whose name has a dot or nothing in it"


def bundled_name(word: str, network: str = "text_encoder", encoders: int = 1) -> str:
    """The tensor's name of an embedding inside the file, as the webui has it, for one text encoder of a base with so
    many. Raises UserError if the word cannot be one."""
    if "." in word:
        raise UserError(
            f"a LoRA cannot bring along the embedding {word!r}, for its name has a dot; choose another name"
        )
    return f"{BUNDLE}{word}{BUNDLED[encoders][network]}"


def bundled(tensors: Mapping[str, Tensor], inventory: Inventory, family: Family) -> dict[str, dict[str, Tensor]]:
    """The embeddings in a LoRA's file that a family's bases can use: {name: {text encoder: vectors (n, width)}}. What
    cannot be used is left out in the inventory. Raises UserError for numbers that are not finite."""
    found: dict[str, dict[str, str]] = {}
    for key in tensors:
        if not key.startswith(BUNDLE):
            continue
        word, network = _word(key)
        if network and word and "." not in word:
            found.setdefault(word, {})[network] = key
        elif key.endswith((".clip_l" + OUTPUT, ".clip_g" + OUTPUT)):
            inventory.leave(AT_OUTPUT, key)
        else:
            inventory.leave(_NAMELESS if network else UNKNOWN, key)
    wanted = {encoder.name for encoder in family.encoders}
    words: dict[str, dict[str, Tensor]] = {}
    for word, keys in found.items():
        vectors = {network: tensors[key] for network, key in keys.items()}
        if keys.keys() != wanted:
            inventory.leave(_HALF, *keys.values())
        elif len({len(each) if each.dim() == 2 else each.dim() for each in vectors.values()}) > 1 or any(
            each.dim() not in (1, 2) or not each.numel() or not each.is_floating_point() for each in vectors.values()
        ):
            inventory.leave(_SHAPE, *keys.values())
        elif not all(each.is_meta or all_finite({"": each}) for each in vectors.values()):
            inventory.leave("it holds numbers that are not finite", *keys.values())
        else:
            words[word] = {network: each.float().reshape(-1, each.shape[-1]) for network, each in vectors.items()}
            inventory.use(*keys.values())
    return words


def _word(key: str) -> tuple[str, str]:
    """A bundled embedding's name, and the text encoder of one of its tensors, "" for none that is known."""
    for names in BUNDLED.values():
        for network, leaf in names.items():
            if key.endswith(leaf):
                return key.removeprefix(BUNDLE).removesuffix(leaf), network
    return "", ""
