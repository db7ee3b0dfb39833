"""The text encoder: CLIP's text side, trained contrastively against what the captioned scenes are made of.

Beside it stands a small network that reads a scene's style, colour, objects, sizes and places, not its pixels. It says
what a caption has to be told apart by at a hundredth of the cost of a network that looks at images, and from the first
step on. Batches show few nouns, so that captions have to be told apart by style and colour more often than by noun.
"""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from limner.vision.colours import COLOURS
from recipes.pocket import BUILD, SHIPPED, SIZE
from recipes.pocket.icons import Nouns, read_nouns
from recipes.pocket.scenes import Scene, draw_scene
from recipes.pocket.styles import STYLES
from recipes.pocket.tokenizer import write_tokenizer
from recipes.pocket.training import MasterAdamW, fit

FOLDER = BUILD / "clip"
BEFORE = FOLDER / "before"  # an adopted text encoder, from which this one goes on
WIDTH = 192  # hidden size
STEPS, BATCH, LR = 500, 192, 6e-4
NOUNS = 24  # in a batch
STATES_MEAN = -0.1
TOKENS = 32  # the longest caption here is shorter; padding behind the end mark changes nothing before it
TEMPERATURE = 14.0  # the logits' scale at the start, CLIP's


def new_text_encoder() -> CLIPTextModel:
    """CLIP's own text side, narrow: 4 layers of 192."""
    config = CLIPTextConfig(
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
    config._attn_implementation = "eager"  # at these sizes three plain products beat the fused kernel on CPUs
    return CLIPTextModel(config)


class Contrast(nn.Module):
    """The text encoder and what it is compared with: logits of captions against scenes."""

    def __init__(self, text: CLIPTextModel, nouns: Nouns) -> None:
        super().__init__()
        self.text = text
        self.nouns = {noun: index for index, noun in enumerate(nouns.nouns)}
        self.style = nn.Embedding(len(STYLES), WIDTH)
        self.colour = nn.Embedding(len(COLOURS), WIDTH)
        self.noun = nn.Embedding(len(nouns.nouns), WIDTH)
        self.lies = nn.Linear(3, WIDTH)
        self.object = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.whole = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU())
        self.scene = nn.Linear(2 * WIDTH, WIDTH, bias=False)
        self.caption = nn.Linear(WIDTH, WIDTH, bias=False)
        self.scale = nn.Parameter(torch.tensor(TEMPERATURE).log())

    def forward(self, tokens: Tensor, scenes: list[Scene]) -> Tensor:
        """(captions, scenes)"""
        captions = self.caption(self.text(tokens).pooler_output)
        sides = self.scene(self.whole(self._facts(scenes)))
        product = F.normalize(captions.float(), dim=1) @ F.normalize(sides.float(), dim=1).T
        return product * self.scale.float().exp().clamp(max=100)

    def _facts(self, scenes: list[Scene]) -> Tensor:
        """(scenes, width): the sum of what each shows."""
        style = self.style(torch.tensor([list(STYLES).index(scene.style) for scene in scenes]))
        colour = self.colour(torch.tensor([list(COLOURS).index(scene.colour) for scene in scenes]))
        objects = [(index, placed) for index, scene in enumerate(scenes) for placed in scene.objects]
        owner = torch.tensor([index for index, _ in objects])
        noun = self.noun(torch.tensor([self.nouns[placed.noun] for _, placed in objects]))
        lies = torch.tensor([[placed.side, *placed.middle] for _, placed in objects]) / SIZE * 2 - 1
        return (style + colour).index_add(0, owner, self.object(noun + self.lies(lies.to(noun.dtype))))


def batch_of(rng: np.random.Generator, nouns: Nouns) -> list[Scene]:
    few = replace(nouns, nouns=tuple(str(noun) for noun in rng.choice(nouns.nouns, NOUNS, replace=False)))
    return [draw_scene(1, int(index), few) for index in rng.integers(1 << 40, size=BATCH)]


def train() -> CLIPTextModel:
    torch.manual_seed(0)
    if not (SHIPPED / "tokenizer" / "vocab.json").exists():
        write_tokenizer(SHIPPED / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(SHIPPED / "tokenizer")
    nouns = read_nouns()
    text = new_text_encoder()
    if BEFORE.exists():
        text.load_state_dict(CLIPTextModel.from_pretrained(BEFORE).state_dict())
    contrast = Contrast(text, nouns).to(torch.bfloat16)
    optimizer = MasterAdamW(contrast.parameters(), weight_decay=0.02, ema_decay=0.99)

    def loss_of(rng: np.random.Generator) -> tuple[Tensor, int]:
        scenes = batch_of(rng, nouns)
        captions = [scene.caption for scene in scenes]
        tokens = tokenizer(captions, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt")
        logits = contrast(tokens.input_ids, scenes)
        same = torch.tensor([[a == b for b in captions] for a in captions])
        logits = logits.masked_fill(same & ~torch.eye(BATCH, dtype=torch.bool), -1e4)  # equal captions are no negatives
        target = torch.arange(BATCH)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2, BATCH

    fit("clip", FOLDER, loss_of, optimizer, STEPS, LR)
    optimizer.use_average()
    return text.float().eval()


def run() -> None:
    """Train; save the text encoder under the build folder as the pocket base has it."""
    text = train()
    with torch.no_grad():  # the webui's emphasis restores the states' mean, which must not be 0: here as in SD 1.5
        norm = next(module for name, module in text.named_modules() if name.endswith("final_layer_norm"))
        norm.bias += STATES_MEAN - norm.bias.mean()
    text.save_pretrained(FOLDER / "text_encoder")
    FOLDER.joinpath("done").touch()


if __name__ == "__main__":
    run()
