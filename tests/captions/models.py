"""Tiny random captioners in the layout of the published ones, made on the spot."""

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing

WORDS = ["a", "fox", "dog", "cat", "on", "in", "grass", "snow", "red", "blue", "sits", "runs", "the", "with", "photo"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]


def tokenizer(kind: type, special: list[str] = SPECIAL, **named: str):
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    plain = Tokenizer(WordLevel(vocabulary, unk_token=special[1]))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = TemplateProcessing(
        single=f"{special[2]} $A {special[3]}",
        special_tokens=[(special[2], 2), (special[3], 3)],
    )
    return kind(tokenizer_object=plain, **named)


def _bert():
    return tokenizer(
        transformers.PreTrainedTokenizerFast, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", bos_token="[DEC]",
    )  # fmt: skip


SMALL = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "initializer_range": 1.0,
}
TEXT = SMALL | {"vocab_size": len(SPECIAL) + len(WORDS), "max_position_embeddings": 64}
LOOK = SMALL | {"image_size": 32, "patch_size": 16}


def _save(folder: Path, network, processor) -> Path:
    network.generation_config.min_new_tokens = 4
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def tiny_blip(folder: Path) -> Path:
    torch.manual_seed(1)
    text = TEXT | {
        "encoder_hidden_size": 16,
        "bos_token_id": 5,
        "sep_token_id": 3,
        "eos_token_id": 3,
        "pad_token_id": 0,
    }
    config = transformers.BlipConfig(text_config=text, vision_config=LOOK, projection_dim=16)
    eyes = transformers.BlipImageProcessorPil(size={"height": 32, "width": 32})
    return _save(folder, transformers.BlipForConditionalGeneration(config), transformers.BlipProcessor(eyes, _bert()))


def tiny_git(folder: Path) -> Path:
    torch.manual_seed(1)
    config = transformers.GitConfig(vision_config=LOOK, **TEXT, bos_token_id=2, eos_token_id=3, pad_token_id=0)
    eyes = transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return _save(folder, transformers.GitForCausalLM(config), transformers.GitProcessor(eyes, _bert()))


def tiny_blip2(folder: Path) -> Path:
    torch.manual_seed(1)
    words = _bert()
    words.add_tokens(["<image>"], special_tokens=True)
    config = transformers.Blip2Config(
        vision_config=LOOK,
        qformer_config=TEXT | {"encoder_hidden_size": 16, "cross_attention_frequency": 1},
        text_config={
            "model_type": "opt", "vocab_size": len(words), "hidden_size": 16, "word_embed_proj_dim": 16, "ffn_dim": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 64, "bos_token_id": 5,
            "eos_token_id": 3, "pad_token_id": 0, "init_std": 1.0,
        },
        num_query_tokens=4, image_token_index=len(words) - 1, initializer_range=1.0,
    )  # fmt: skip
    eyes = transformers.BlipImageProcessorPil(size={"height": 32, "width": 32})
    processor = transformers.Blip2Processor(eyes, words, num_query_tokens=4)
    return _save(folder, transformers.Blip2ForConditionalGeneration(config), processor)


def tiny_florence(folder: Path) -> Path:
    torch.manual_seed(1)
    special = ["<pad>", "<unk>", "<s>", "</s>", "<mask>", "<image>"]
    words = tokenizer(
        transformers.PreTrainedTokenizerFast, special, unk_token="<unk>", pad_token="<pad>", bos_token="<s>",
        eos_token="</s>", extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip
    text = {
        "vocab_size": len(words), "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 64,
        "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0, "decoder_start_token_id": 3, "init_std": 1.0,
        "forced_eos_token_id": 3,
    }  # fmt: skip
    look = {
        "depths": (1, 1), "patch_size": (7, 3), "patch_stride": (4, 2), "patch_padding": (3, 1),
        "patch_prenorm": (False, True), "embed_dim": (8, 16), "num_heads": (2, 2), "num_groups": (2, 2),
        "window_size": 4, "projection_dim": 16, "max_temporal_embeddings": 4, "max_position_embeddings": 8,
    }  # fmt: skip
    config = transformers.Florence2Config(text_config=text, vision_config=look, image_token_id=5)
    eyes = transformers.CLIPImageProcessorPil(size={"height": 32, "width": 32}, do_center_crop=False)
    eyes.image_seq_length = 17
    return _save(
        folder, transformers.Florence2ForConditionalGeneration(config), transformers.Florence2Processor(eyes, words)
    )
