"""kohya's LoRA file, which A1111, Forge, ComfyUI, stable-diffusion.cpp and diffusers all read, and LyCORIS's of the
same names, of which each reads some."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from limner.base.families import UNETS
from limner.base.family import Family
from limner.container.hashes import legacy_hash, model_hash
from limner.container.header import Header, all_finite, read_header, read_tensors, serialize
from limner.errors import UserError
from limner.formats.bundle import bundled_name, bundled_word
from limner.formats.factors import check_factors, spellings
from limner.formats.format import Format
from limner.formats.identify import BUNDLE, family, naming
from limner.formats.metadata import complete
from limner.formats.names import file_name, neutral_name
from limner.weights import Weights


class Kohya(Format):
    """`lora_unet_`, `lora_te_` and the like, one alpha a module; blocks are named by family, as formats.names says."""

    name = "kohya"

    @staticmethod
    def sniff(header: Header) -> bool:
        return naming(header) == "kohya"

    @staticmethod
    def serialize(weights: Weights, name: str, dtype: torch.dtype = torch.float16) -> bytes:
        """The file's bytes: tensors in `dtype`, metadata with hashes; `name` is the stem that it is saved under.

        Raises UserError if the weights are not a LoRA of a known family or do not fit the dtype.
        """
        if weights.kind != "lora" or weights.family not in UNETS:
            raise UserError(f"kohya's format holds LoRAs of {', '.join(UNETS)}, not a {weights.family} {weights.kind}")
        known = UNETS[weights.family]
        tensors = {}
        for module, factors in weights.modules().items():
            form = check_factors(factors, module, f"the LoRA to be saved as {name}")
            if not form.is_written:
                raise UserError(f"{name} would be a {form.name}, which Limner reads but does not write; keep its file")
            for leaf, tensor in as_deep(factors, module, known).items():
                tensors[f"{file_name(module, known)}.{form.leaves[leaf]}"] = _cast(tensor, dtype, leaf)
        for word, vectors in weights.words.items():
            for network, each in vectors.items():
                tensors[bundled_name(word, network, len(vectors))] = each.detach().to("cpu", dtype)
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
        if family(header) not in UNETS:
            known = " or ".join(UNETS)
            raise UserError(f"{path} is a LoRA for {family(header)}, which Limner does not know; use one for {known}")
        modules: dict[str, dict[str, Tensor]] = {}
        words: dict[str, dict[str, Tensor]] = {}
        leaves = spellings()
        for key, tensor in read_tensors(path).items():
            module, _, leaf = key.partition(".")
            if key.startswith(BUNDLE):
                word, network = bundled_word(key, path)
                words.setdefault(word, {})[network] = tensor.float()
                continue
            if leaf not in leaves:
                raise UserError(f"{path} holds {key}, which is no part of a LoRA or its kin; use another file")
            name = neutral_name(module, path)
            if leaves[leaf] in modules.setdefault(name, {}):
                raise UserError(f"{path} has {leaf} of the layer {name} twice, under two names; use another file")
            modules[name][leaves[leaf]] = tensor
        for module, factors in modules.items():
            if "alpha" not in factors and "lora_down" in factors and factors["lora_down"].dim():
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


def as_deep(factors: Mapping[str, Tensor], module: str, known: Family) -> dict[str, Tensor]:
    """The leaves with as many axes as the family's own layer has: the layers at either end of a transformer are 1x1
    convolutions in Stable Diffusion 1 and matrices since, and files of the one are used with bases of the other's form.
    """
    wanted = 4 if known.name == "sd1" else 2
    if not (module.startswith("unet.") and module.endswith((".proj_in", ".proj_out"))):
        return dict(factors)
    if any(leaf in factors for leaf in ("lora_mid", "hada_t1", "lokr_t2")):
        return dict(factors)
    deep = dict(factors)
    for leaf in ("lora_down", "lora_up"):
        if leaf in deep and deep[leaf].dim() != wanted:
            deep[leaf] = deep[leaf].flatten(1) if wanted == 2 else deep[leaf][:, :, None, None]
    return deep


def _cast(tensor: Tensor, dtype: torch.dtype, leaf: str) -> Tensor:
    """The tensor in the file's dtype; whole numbers stay what they are, and an alpha that would change with it stays
    float32, for it scales everything."""
    if not tensor.is_floating_point():
        return tensor.detach().cpu()
    cast = tensor.detach().to("cpu", dtype)
    return (
        tensor.detach().to("cpu", torch.float32) if leaf == "alpha" and cast.float() != tensor.float().cpu() else cast
    )
