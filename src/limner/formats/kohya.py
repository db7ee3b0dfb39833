"""kohya's LoRA file, which A1111, Forge, ComfyUI, stable-diffusion.cpp and diffusers all read, and LyCORIS's of the
same names, of which each reads some."""

import re
from pathlib import Path

import torch
from torch import Tensor

from limner.base.families import FAMILIES
from limner.base.model import Family
from limner.container.header import Header, all_finite, read_header, read_tensors, serialize
from limner.errors import UserError
from limner.formats.factors import check_factors, spellings
from limner.formats.hashes import legacy_hash, model_hash
from limner.formats.identify import BUNDLE, family, kind, naming
from limner.formats.metadata import complete
from limner.weights import Weights

PREFIXES = {  # the last is that of LyCORIS without kohya's trainer
    "lora_unet_": "unet",
    "lora_te1_": "text_encoder",
    "lora_te_": "text_encoder",
    "lycoris_": "unet",
}
BUNDLED_LEAF = ".string_to_param.*"
UNREAD = ("glora", "full", "norm", "boft")  # kinds of adapters of which Limner has no form

# Every part of a module path, in diffusers' UNet and CLIP's text encoder, that a trained layer lies on. The file
# writes dots as underscores, so that only this list tells where a path like `attn1_to_out_0` is to be cut.
_PARTS = [
    "down_blocks", "mid_block", "up_blocks", "attentions", "resnets", "downsamplers", "upsamplers",
    "transformer_blocks", "attn1", "attn2", "to_q", "to_k", "to_v", "to_out", "ff", "net", "proj", "proj_in",
    "proj_out", "conv", "conv1", "conv2", "conv_in", "conv_out", "conv_shortcut", "time_emb_proj", "time_embedding",
    "linear_1", "linear_2", "text_model", "encoder", "layers", "self_attn", "q_proj", "k_proj", "v_proj", "out_proj",
    "mlp", "fc1", "fc2",
]  # fmt: skip
_PART = re.compile(rf"({'|'.join(sorted(_PARTS, key=len, reverse=True))}|\d+)(?:_|$)")


class Kohya:
    """`lora_unet_` and `lora_te_` names, one alpha a module, SD 1's blocks as diffusers names them."""

    name = "kohya"

    @staticmethod
    def sniff(header: Header) -> bool:
        return naming(header) == "kohya"

    @staticmethod
    def serialize(weights: Weights, name: str, dtype: torch.dtype = torch.float16) -> bytes:
        """The file's bytes: tensors in `dtype`, metadata with hashes; `name` is the stem that it is saved under.

        Raises UserError if the weights are not a LoRA of a known family or do not fit the dtype.
        """
        if weights.kind != "lora" or weights.family not in FAMILIES:
            raise UserError(
                f"kohya's format holds LoRAs of {', '.join(FAMILIES)}, not a {weights.family} {weights.kind}"
            )
        known = FAMILIES[weights.family]
        tensors = {}
        for module, factors in weights.modules().items():
            form = check_factors(factors, module, f"the LoRA to be saved as {name}")
            for leaf, tensor in factors.items():
                tensors[f"{file_name(module, known)}.{form.leaves[leaf]}"] = _cast(tensor, dtype, leaf)
        for word, vectors in weights.words.items():
            tensors[bundled_name(word)] = next(iter(vectors.values())).detach().to("cpu", dtype)
        if not all_finite(tensors):
            raise UserError(
                f"the LoRA {name} holds numbers that {dtype} cannot; train again with a lower learning rate"
            )
        metadata = complete(weights, known, name)
        trainer_only = {key: text for key, text in metadata.items() if key.startswith("ss_")}
        bare = serialize(tensors, trainer_only)
        metadata["sshs_model_hash"] = model_hash(bare)
        metadata["sshs_legacy_hash"] = legacy_hash(bare)
        metadata["modelspec.hash_sha256"] = f"0x{metadata['sshs_model_hash']}"
        return serialize(tensors, metadata)

    @staticmethod
    def load(path: Path) -> Weights:
        """The weights of a kohya file; a LoRA's missing alpha means the rank, as every reader takes it.

        Raises UserError if it is another kind of adapter, of another family, damaged, or names an unknown layer.
        """
        header = read_header(path)
        if kind(header) in UNREAD:
            raise UserError(f"{path} is a {kind(header)}, which Limner does not read; use a LoRA, LoHa, LoKr or OFT")
        if family(header) not in FAMILIES:
            raise UserError(f"{path} is a LoRA for {family(header)}, which Limner does not know; use one for sd1")
        modules: dict[str, dict[str, Tensor]] = {}
        words: dict[str, dict[str, Tensor]] = {}
        leaves = spellings()
        for key, tensor in read_tensors(path).items():
            module, _, leaf = key.partition(".")
            if key.startswith(BUNDLE):
                words[_word(key, path)] = {"text_encoder": tensor.float()}
                continue
            if leaf not in leaves:
                raise UserError(f"{path} holds {key}, which is no part of a LoRA or its kin; use another file")
            modules.setdefault(neutral_name(module, path), {})[leaves[leaf]] = tensor
        for module, factors in modules.items():
            if "alpha" not in factors and "lora_down" in factors:
                factors["alpha"] = torch.tensor(float(factors["lora_down"].shape[0]))
            check_factors(factors, module, str(path))
            if "alpha" in factors:
                factors["alpha"] = factors["alpha"].float().reshape(())
        tensors = {
            f"{module}.{leaf}": tensor for module, factors in modules.items() for leaf, tensor in factors.items()
        }
        if not all_finite(tensors | {word: t for word, vectors in words.items() for t in vectors.values()}):
            raise UserError(f"{path} holds numbers that are not finite; its training failed, so use another file")
        return Weights("lora", family(header), tensors, header.metadata, path.stem, words)


def bundled_name(word: str) -> str:
    """The tensor's name of an embedding inside the file, as the webui has it. Raises UserError if it cannot be one."""
    if "." in word:
        raise UserError(
            f"a LoRA cannot bring along the embedding {word!r}, for its name has a dot; choose another name"
        )
    return f"{BUNDLE}{word}{BUNDLED_LEAF}"


def _word(key: str, path: Path) -> str:
    word = key.removeprefix(BUNDLE).removesuffix(BUNDLED_LEAF)
    if not word or "." in word or not key.endswith(BUNDLED_LEAF):
        raise UserError(f"{path} holds {key}, an embedding for another kind of base; use a LoRA for sd1")
    return word


def file_name(module: str, known: Family) -> str:
    """ "unet.mid_block.attentions.0.proj_in" -> "lora_unet_mid_block_attentions_0_proj_in".

    A text encoder's path gets back the `text_model` that transformers 5.6 and later leave out of it.
    """
    network, _, path = module.partition(".")
    if network == "unet":
        return "lora_unet_" + path.replace(".", "_")
    return f"{known.encoders[0].prefix}_text_model_" + path.removeprefix("text_model.").replace(".", "_")


def neutral_name(name: str, path: Path) -> str:
    """The inverse of file_name; UserError, naming the file `path`, for a layer that no UNet or text encoder has."""
    for prefix, network in PREFIXES.items():
        if name.startswith(prefix):
            parts = _split(name.removeprefix(prefix))
            if parts:
                return ".".join([network, *(parts[1:] if parts[0] == "text_model" else parts)])
    raise UserError(f"{path} is for a layer called {name}, which Stable Diffusion 1.x does not have; use another file")


def _split(path: str) -> list[str]:
    parts, at = [], 0
    while at < len(path):
        match = _PART.match(path, at)
        if match is None:
            return []
        parts.append(match[1])
        at = match.end()
    return parts


def _cast(tensor: Tensor, dtype: torch.dtype, leaf: str) -> Tensor:
    """The tensor in the file's dtype; whole numbers stay what they are, and an alpha that would change with it stays
    float32, for it scales everything."""
    if not tensor.is_floating_point():
        return tensor.detach().cpu()
    cast = tensor.detach().to("cpu", dtype)
    return (
        tensor.detach().to("cpu", torch.float32) if leaf == "alpha" and cast.float() != tensor.float().cpu() else cast
    )
