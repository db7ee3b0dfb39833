"""A small CLIP, trained contrastively on captioned scenes: its text side conditions the UNet."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionConfig

from recipes.pocket import BUILD, SHIPPED
from recipes.pocket.icons import load_icons, read_nouns
from recipes.pocket.scenes import Scene, draw_scene, render_scene
from recipes.pocket.tokenizer import write_tokenizer
from recipes.pocket.training import MasterAdamW, fit

FOLDER = BUILD / "clip"
WIDTH, VIEW = 192, 64  # hidden size of both sides; pixels that the image side sees
STEPS, BATCH, LR = 500, 192, 1e-3
STATES_MEAN = -0.1
TOKENS = 32  # the longest caption here is shorter; padding behind the end mark changes nothing before it


def new_clip() -> CLIPModel:
    """CLIP's own architecture, narrow: 4 text layers and 5 vision layers of 192."""
    text = CLIPTextConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=4,
        num_attention_heads=3,
        projection_dim=WIDTH,
        vocab_size=49408,
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=49407,
    )
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=5,
        num_attention_heads=3,
        image_size=VIEW,
        patch_size=8,
        projection_dim=WIDTH,
    )
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=WIDTH)
    config._attn_implementation = "eager"  # at these sizes three plain products beat the fused kernel on CPUs
    return CLIPModel(config)


def shrink(pixels: np.ndarray) -> np.ndarray:
    """(128, 128, 3) -> (64, 64, 3), by box averaging."""
    return np.asarray(Image.fromarray(pixels).resize((VIEW, VIEW), Image.Resampling.BOX))


def views(pixels: list[np.ndarray]) -> torch.Tensor:
    """Images uint8 (h, w, 3) -> the image side's input (batch, 3, 64, 64) in -1..1."""
    small = np.stack([shrink(p) for p in pixels]).astype(np.float32)
    return torch.from_numpy(small).permute(0, 3, 1, 2) / 127.5 - 1


def batch_of(rng: np.random.Generator, icons: dict[str, np.ndarray]) -> tuple[list[Scene], torch.Tensor]:
    nouns = read_nouns()
    scenes = [draw_scene(1, int(i), nouns) for i in rng.integers(1 << 40, size=BATCH)]
    return scenes, views([render_scene(scene, icons) for scene in scenes])


def train() -> CLIPModel:
    torch.manual_seed(0)
    write_tokenizer(SHIPPED / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(SHIPPED / "tokenizer")
    clip = new_clip().to(torch.bfloat16)
    optimizer = MasterAdamW(clip.parameters(), weight_decay=0.02, ema_decay=0.995)
    icons = load_icons()

    def loss_of(rng: np.random.Generator) -> tuple[torch.Tensor, int]:
        scenes, pixels = batch_of(rng, icons)
        captions = [scene.caption for scene in scenes]
        tokens = tokenizer(captions, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt")
        output = clip(input_ids=tokens.input_ids, pixel_values=pixels.to(torch.bfloat16))
        logits = output.logits_per_text.float()
        same = torch.tensor([[a == b for b in captions] for a in captions])
        logits = logits.masked_fill(same & ~torch.eye(BATCH, dtype=torch.bool), -1e4)  # equal captions are no negatives
        target = torch.arange(BATCH)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2, BATCH

    fit("clip", FOLDER, loss_of, optimizer, STEPS, LR)
    optimizer.use_average()
    return clip.float().eval()


def run() -> None:
    """Train; save the whole CLIP under the build folder and its text side as the pocket base has it."""
    clip = train()
    clip.save_pretrained(FOLDER / "clip")
    text = CLIPTextModel(clip.config.text_config)
    source = {name.removeprefix("text_model."): value for name, value in clip.text_model.state_dict().items()}
    target = text.state_dict()
    text.load_state_dict({name: source[name.removeprefix("text_model.")] for name in target})
    with torch.no_grad():  # the webui's emphasis restores the states' mean, which must not be 0: here as in SD 1.5
        norm = next(module for name, module in text.named_modules() if name.endswith("final_layer_norm"))
        norm.bias += STATES_MEAN - norm.bias.mean()
    text.save_pretrained(FOLDER / "text_encoder")
    FOLDER.joinpath("done").touch()


if __name__ == "__main__":
    run()
