"""BaseModel: what every family of base models offers to training and to sampling alike."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTokenizerFast

from limner.base.words import Words

TOKENS = 77  # places of one text chunk, start and end marks included


@dataclass(frozen=True)
class Family:
    """The facts by which families of base models differ. Names only: networks come from diffusers and transformers."""

    name: str  # "sd1"
    title: str  # "Stable Diffusion 1.x"
    resolution: int  # pixels at which it was trained
    text_prefixes: tuple[str, ...]  # kohya's prefix of each text encoder, as in "lora_te"
    modelspec: str  # modelspec.architecture
    ss_base_model_version: str  # sd-scripts' name of it


@dataclass(frozen=True)
class Conditioning:
    """What the denoiser is told beside the noisy latents.

    hidden_states: (batch, tokens, dim), the text encoders' states.
    """

    hidden_states: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> "Conditioning":
        return replace(self, hidden_states=self.hidden_states.to(device, dtype))

    @staticmethod
    def stack(parts: list["Conditioning"]) -> "Conditioning":
        """Join along the batch, repeating the shorter ones' last 77-token chunk of states up to the longest."""
        longest = max(part.hidden_states.shape[1] for part in parts)
        padded = []
        for part in parts:
            states = part.hidden_states
            missing = (longest - states.shape[1]) // TOKENS
            padded.append(torch.cat([states, *[states[:, -TOKENS:]] * missing], dim=1))
        return Conditioning(torch.cat(padded))


class BaseModel:
    """A latent diffusion model with CLIP text encoders: Stable Diffusion 1.x and its kin.

    All networks live on one device in one dtype, frozen and in evaluation mode. Attributes:
    networks: {"unet", "vae", "text_encoder"} -> module, by diffusers' component names.
    alphas_cumprod: float32 (num_train_timesteps,), on the CPU. prediction_type: "epsilon" or "v_prediction".
    scheduler_config: diffusers' scheduler configuration. fingerprint: SHA-256 of the weights and configuration.
    words: what prompts can say beyond the vocabulary, for as long as a method or a request lends it.
    source: the folder or file that it was opened from, None if it was not.
    """

    def __init__(
        self,
        family: Family,
        name: str,
        fingerprint: str,
        networks: dict[str, nn.Module],
        tokenizer: CLIPTokenizerFast,
        scheduler_config: dict,
        alphas_cumprod: Tensor,
        source: Path | None = None,
    ) -> None:
        self.source = source
        self.family = family
        self.name = name
        self.fingerprint = fingerprint
        self.networks: dict[str, Any] = networks  # modules, each with the methods of its own class
        self.tokenizer = tokenizer
        self.scheduler_config = scheduler_config
        self.alphas_cumprod = alphas_cumprod
        for network in networks.values():
            network.requires_grad_(False).eval()
        self.words = Words(
            {name: text_core(net).embeddings.token_embedding for name, net in networks.items() if "text" in name},
            self._ids,
        )

    @property
    def prediction_type(self) -> str:
        return self.scheduler_config.get("prediction_type", "epsilon")

    @property
    def resolution(self) -> int:
        """Native size in pixels."""
        return int(self.networks["unet"].config.sample_size) * self.factor

    @property
    def factor(self) -> int:
        """Pixels per latent, along each side."""
        return 2 ** (len(self.networks["vae"].config.block_out_channels) - 1)

    @property
    def device(self) -> torch.device:
        return next(self.networks["unet"].parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.networks["unet"].parameters()).dtype

    def pieces(self, text: str) -> list[list[int]]:
        """Ids of a text of any length, in pieces that stay together: a token, or the vectors of an extra word."""
        return self.words.pieces(text)

    def tokenize(self, text: str) -> list[int]:
        """Ids of a text of any length, without start and end marks."""
        return [id for piece in self.pieces(text) for id in piece]

    def _ids(self, text: str) -> list[int]:
        """The vocabulary's ids of a text."""
        return self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids

    def encode_tokens(self, tokens: Tensor, clip_skip: int = 1) -> Tensor:
        """States (batch, 77, dim) of token chunks (batch, 77); `clip_skip` n takes layer -n, then the final norm."""
        encoder = self.networks["text_encoder"]
        if clip_skip == 1:
            return encoder(tokens.to(self.device)).last_hidden_state
        hidden = encoder(tokens.to(self.device), output_hidden_states=True).hidden_states[-clip_skip]
        return text_core(encoder).final_layer_norm(hidden)

    def encode_prompts(self, prompts: list[str], clip_skip: int = 1) -> Conditioning:
        """Conditioning of plain prompts: each cut into chunks of 75 tokens, all padded to the longest's chunks."""
        chunks = [self.chunk(self.pieces(prompt)) for prompt in prompts]
        most = max(len(chunk) for chunk in chunks)
        empty = [self.frame([])]
        tokens = torch.tensor([c + empty * (most - len(c)) for c in chunks])
        states = self.encode_tokens(tokens.flatten(0, 1), clip_skip)
        return Conditioning(states.unflatten(0, (len(prompts), most)).flatten(1, 2))

    def chunk(self, pieces: list[list[int]]) -> list[list[int]]:
        """Pieces of any number -> chunks of exactly 77 ids; a piece that would not fit whole begins the next."""
        filled: list[list[int]] = [[]]
        for piece in pieces:
            if len(filled[-1]) + len(piece) > TOKENS - 2:
                filled.append([])
            filled[-1] += piece
        return [self.frame(ids) for ids in filled]

    def frame(self, ids: list[int]) -> list[int]:
        """One chunk of 77: start mark, at most 75 ids, end mark and padding."""
        start, end, pad = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id
        return [start, *ids, end, *[pad] * (TOKENS - 2 - len(ids))]

    def encode_images(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Scaled latents (batch, 4, h/8, w/8) of pixels (batch, 3, h, w) in -1..1: the mean, or a random sample."""
        vae = self.networks["vae"]
        posterior = vae.encode(pixels.to(self.device, self.dtype)).latent_dist
        latents = posterior.mean
        if generator is not None:
            noise = torch.randn(latents.shape, generator=generator).to(latents)
            latents = latents + posterior.std * noise
        return latents * vae.config.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels (batch, 3, h, w) in -1..1 of scaled latents, one image at a time so that batching changes nothing."""
        vae = self.networks["vae"]
        return torch.cat(
            [vae.decode(one / vae.config.scaling_factor).sample for one in latents.to(self.dtype).split(1)]
        )

    def predict(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """The network's output (noise or v), shaped like `latents`; timesteps (batch,) in 0..num_train_timesteps-1."""
        return self.networks["unet"](latents, timesteps, conditioning.hidden_states, return_dict=False)[0]


def text_core(encoder: nn.Module) -> Any:
    """The transformer inside a CLIP text model: transformers before 5.6 wrapped it once more, as `text_model`."""
    return getattr(encoder, "text_model", encoder)
