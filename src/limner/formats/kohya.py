"""kohya's LoRA file, which A1111, Forge, ComfyUI, stable-diffusion.cpp and diffusers all read, and LyCORIS's of the
same names, of which each reads some."""

from collections.abc import Mapping

import torch
from torch import Tensor

from limner.base.families import UNETS
from limner.base.family import Family
from limner.container.hashes import legacy_hash, model_hash
from limner.container.header import Header, all_finite, serialize
from limner.errors import UserError
from limner.formats.adapter import load_adapter
from limner.formats.bundle import bundled_name
from limner.formats.factors import check_factors
from limner.formats.format import Format
from limner.formats.metadata import complete
from limner.formats.names import PREFIXES, file_name, kernel_of
from limner.weights import Weights


class Kohya(Format):
    """`lora_unet_`, `lora_te_` and the like, one alpha a module; blocks are named by family, as formats.names says."""

    name = "kohya"

    @staticmethod
    def sniff(header: Header) -> bool:
        return any(key.startswith(tuple(PREFIXES)) for key in header.shapes)

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

    load = staticmethod(load_adapter)


def as_deep(factors: Mapping[str, Tensor], module: str, known: Family) -> dict[str, Tensor]:
    """The leaves of a LoRA with as many axes as the family's own layer has: files are used with bases of another form,
    for the layers at either end of a transformer are 1x1 convolutions in Stable Diffusion 1 and matrices since, and
    ComfyUI's trainer keeps all layers flat."""
    deep, kernel = dict(factors), kernel_of(module, known.name)
    down, up = factors.get("lora_down"), factors.get("lora_up")
    if down is None or up is None or "lora_mid" in factors:
        return deep
    if kernel == 0:
        is_end = module.startswith("unet.") and module.endswith((".proj_in", ".proj_out"))
        return deep | {"lora_down": down.flatten(1), "lora_up": up.flatten(1)} if is_end else deep
    if down.dim() == 2 and kernel == 1:
        deep["lora_down"] = down[:, :, None, None]
    if up.dim() == 2 and deep["lora_down"].dim() == 4:
        deep["lora_up"] = up[:, :, None, None]
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
