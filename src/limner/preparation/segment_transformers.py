"""Segmentation models of transformers: SegFormer and others that know kinds of things, MaskFormer's kin, and CLIPSeg,
which takes any words. Weights only as safetensors, and no code of the model's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limner.config import nearest
from limner.errors import UserError, is_out_of_memory
from limner.preparation.segment import Model, Shares
from limner.preparation.segment_onnx import normalisation_of, read_json

SIDE = 512  # pixels, where the model does not say it
MOST_NAMED = 12  # labels that an error lists
BACKGROUND = {"background", "unlabeled", "unlabelled", "none", "void"}

Maps = Callable[[Tensor], Tensor]  # pixels (1, 3, h, w) -> (h', w'), 0..1


def open_model(folder: Path, label: str) -> Model:
    """The model in a folder, asked for what `label` says. Raises UserError."""
    import transformers

    said = read_json(folder / "config.json")
    kind = str((said.get("architectures") or [""])[0])
    makers = {
        "ForSemanticSegmentation": (transformers.AutoModelForSemanticSegmentation, _semantic),
        "ForUniversalSegmentation": (transformers.AutoModelForUniversalSegmentation, _universal),
        "MaskFormerForInstanceSegmentation": (transformers.AutoModelForInstanceSegmentation, _universal),
        "CLIPSegForImageSegmentation": (transformers.CLIPSegForImageSegmentation, _by_words),
    }
    found = next((maker for ending, maker in makers.items() if kind.endswith(ending)), None)
    if found is None:
        raise UserError(
            f"{folder} is a {kind or 'model of no known kind'}, which finds no masks; give a model for semantic or "
            "universal segmentation, or CLIPSeg"
        )
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    try:
        model = found[0].from_pretrained(folder, local_files_only=True, use_safetensors=True, trust_remote_code=False)
    except ImportError as error:  # Mask2Former and its kin ask for scipy
        reason = " ".join(str(error).split()).partition(". ")[0]
        raise UserError(f"the segmentation model in {folder} needs another package ({reason}); install it") from error
    except (OSError, ValueError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"cannot open the segmentation model in {folder} ({reason}); copy it again") from error
    maps = found[1](model.eval(), folder, label)
    size, mean, std = _preprocessing(folder, model.config)

    def run(image: Image.Image) -> Shares:
        small = np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32) / 255
        pixels = torch.from_numpy(((small - mean) / std).transpose(2, 0, 1)[None].copy())
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # a mask is the same however many work on the pictures
        try:
            with torch.inference_mode():
                return np.ascontiguousarray(maps(pixels).float().numpy(), np.float32)
        finally:
            torch.set_num_threads(threads)

    return run


def _semantic(model: Any, folder: Path, label: str) -> Maps:
    wanted = _labels(model.config.id2label, label, folder)
    return lambda pixels: model(pixels).logits[0].softmax(0)[wanted].sum(0)


def _universal(model: Any, folder: Path, label: str) -> Maps:
    """As Cheng et al. 2021 read such models for semantic segmentation: each query's mask by its kind's probability."""
    wanted = _labels(model.config.id2label, label, folder)

    def maps(pixels: Tensor) -> Tensor:
        found = model(pixels)
        kinds = found.class_queries_logits[0].softmax(-1)[:, :-1]  # the last is "nothing"
        masks = found.masks_queries_logits[0].sigmoid()
        return torch.einsum("q,qhw->hw", kinds[:, wanted].sum(-1), masks).clamp(0, 1)

    return maps


def _by_words(model: Any, folder: Path, label: str) -> Maps:
    import transformers

    if not label:
        raise UserError(f"the model in {folder} finds what words say; give --mask-label, as in dog")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise UserError(f"{folder} holds no vocabulary for its text encoder; copy the whole model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    words = tokenizer([label], return_tensors="pt", truncation=True)
    told = {"input_ids": words["input_ids"], "attention_mask": words["attention_mask"]}
    return lambda pixels: model(pixel_values=pixels, **told).logits.reshape(pixels.shape[-2:]).sigmoid()


def _labels(names: dict[int, str], label: str, folder: Path) -> list[int]:
    """The numbers of the kinds that a label names; of a model that tells but subject and background, the subject's."""
    said = {number: {part.strip().lower() for part in str(name).split(",")} for number, name in names.items()}
    found = [number for number, parts in said.items() if label.strip().lower() in parts]
    if found:
        return found
    subject = [number for number, parts in said.items() if not parts & BACKGROUND]
    if len(names) == 2 and len(subject) == 1:
        return subject
    known = [sorted(parts)[0] for parts in said.values()]
    near = nearest(label, known) if label else None
    more = ", ..." if len(known) > MOST_NAMED else ""
    hint = f"did you mean {near!r}?" if near else f"give --mask-label, one of {', '.join(known[:MOST_NAMED])}{more}"
    raise UserError(f"the segmentation model in {folder} knows nothing called {label!r}; {hint}")


def _preprocessing(folder: Path, config: Any) -> tuple[tuple[int, int], np.ndarray, np.ndarray]:
    """Width and height that the model sees pictures at, their channels' mean and deviation."""
    path = folder / "preprocessor_config.json"
    said = read_json(path) if path.is_file() else {}
    size = said.get("size")
    side = getattr(getattr(config, "vision_config", config), "image_size", None) or SIDE
    if isinstance(size, int):
        size = {"height": size, "width": size}
    if not isinstance(size, dict):
        size = {}
    shortest = size.get("shortest_edge", side)
    width, height = size.get("width", shortest), size.get("height", shortest)
    if not all(isinstance(each, int) and 8 <= each <= 4096 for each in (width, height)):
        raise UserError(f"{path} has a size that is no number of pixels; copy it again")
    return (width, height), *normalisation_of(said, path)
