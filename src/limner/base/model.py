"""BaseModel: what every family of base models offers to training and to sampling alike."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTokenizerFast

from limner.base.conditioning import TOKENS, Conditioning
from limner.base.family import Family
from limner.base.words import Words
from limner.files import sha256_file


class BaseModel:
    """A latent diffusion model with CLIP text encoders: Stable Diffusion 1.x, 2.x and XL.

    All networks live on one device in one dtype, frozen and in evaluation mode. Attributes:
    networks: {one of family.networks: module}. tokenizers: of each text encoder, by the encoder's name; all have the
    same vocabulary and differ in the token with which they pad.
    alphas_cumprod: float32 (num_train_timesteps,), on the CPU. prediction_type: "epsilon", "v_prediction"
    or "flow".
    scheduler_config: diffusers' scheduler configuration. words: what prompts can say beyond the vocabulary, for as long
    as a method or a request lends it. source: the folder or file that it was opened from, None if it was not;
    vae_source: the file of its VAE if that is another one. warnings: what its opener should tell the person.
    """

    def __init__(
        self,
        family: Family,
        name: str,
        sha256: Callable[[], str],
        networks: dict[str, nn.Module],
        tokenizers: dict[str, CLIPTokenizerFast],
        scheduler_config: dict,
        alphas_cumprod: Tensor,
        source: Path | None = None,
        vae_source: Path | None = None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.source, self.vae_source, self.warnings = source, vae_source, warnings
        self.family = family
        self.name = name
        self._sha256 = sha256
        self.networks: dict[str, Any] = networks  # modules, each with the methods of its own class
        self.tokenizers = tokenizers
        self.tokenizer = tokenizers[family.encoders[0].name]
        self.scheduler_config = scheduler_config
        self.alphas_cumprod = alphas_cumprod
        for network in networks.values():
            network.requires_grad_(False).eval()
        self.words = Words(
            {name: text_core(net).embeddings.token_embedding for name, net in networks.items() if "text" in name},
            self._ids,
        )

    @functools.cached_property
    def sha256(self) -> str:
        """Of the base's file, or of its folder's weights and configurations; computed when it is first asked for."""
        return self._sha256()

    @functools.cached_property
    def vae_sha256(self) -> str | None:
        """Of the file of another VAE than the base's own, if there is one."""
        return None if self.vae_source is None else sha256_file(self.vae_source)

    @property
    def fingerprint(self) -> str:
        """SHA-256 by which all that was computed with this base is filed: of it and of another VAE."""
        if self.vae_sha256 is None:
            return self.sha256
        return hashlib.sha256(f"{self.sha256} {self.vae_sha256}".encode()).hexdigest()

    @property
    def denoiser(self) -> Any:
        """The network that predicts, a UNet or a transformer."""
        return self.networks[self.family.denoiser]

    @property
    def timestep_shift(self) -> float:
        """By how much training prefers noisy timesteps, as diffusion.shifted has it."""
        return 1.0

    @property
    def channels(self) -> int:
        """Of the latents."""
        return int(self.networks["vae"].config.latent_channels)

    @property
    def prediction_type(self) -> str:
        return self.scheduler_config.get("prediction_type", "epsilon")

    @property
    def resolution(self) -> int:
        """Native size in pixels."""
        return int(self.denoiser.config.sample_size) * self.factor

    @property
    def text_widths(self) -> list[int]:
        """How many numbers of a state are each text encoder's."""
        return [int(self.networks[encoder.name].config.hidden_size) for encoder in self.family.encoders]

    @property
    def text_layers(self) -> int:
        """Layers that every text encoder has, the most that clip skip can count back."""
        return min(int(self.networks[encoder.name].config.num_hidden_layers) for encoder in self.family.encoders)

    @property
    def factor(self) -> int:
        """Pixels per latent, along each side."""
        return 2 ** (len(self.networks["vae"].config.block_out_channels) - 1)

    @property
    def device(self) -> torch.device:
        return next(self.denoiser.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.denoiser.parameters()).dtype

    def pieces(self, text: str) -> list[list[int]]:
        """Ids of a text of any length, in pieces that stay together: a token, or the vectors of an extra word."""
        return self.words.pieces(text)

    def tokenize(self, text: str) -> list[int]:
        """Ids of a text of any length, without start and end marks."""
        return [id for piece in self.pieces(text) for id in piece]

    def _ids(self, text: str) -> list[int]:
        """The vocabulary's ids of a text."""
        return self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids

    def encode_tokens(self, tokens: Tensor, clip_skip: int = 1) -> Conditioning:
        """States (batch, 77, dim) of token chunks (batch, 77) as `frame` makes them, and the chunks' pooled states.

        `clip_skip` n takes layer -n, then the final norm. XL's encoders always give the last layer but one without the
        norm, as it was trained, whatever is asked, as in the webui.
        """
        told = [self._encode(encoder.name, tokens, clip_skip) for encoder in self.family.encoders]
        pooled = [pooled for _, pooled in told if pooled is not None]
        states = torch.cat([states for states, _ in told], dim=-1)
        return Conditioning(states, torch.cat(pooled, dim=-1) if pooled else None)

    def _encode(self, name: str, tokens: Tensor, clip_skip: int) -> tuple[Tensor, Tensor | None]:
        """States and, of an encoder with a projection, the pooled state of one text encoder."""
        encoder, tokenizer = self.networks[name], self.tokenizers[name]
        is_end = tokens == tokenizer.eos_token_id
        is_padding = is_end.cumsum(1) - is_end.long() > 0
        tokens = tokens.masked_fill(is_padding, tokenizer.pad_token_id).to(self.device)
        core = text_core(encoder)
        if clip_skip == 1 and not self.family.is_pooled:
            return core(tokens).last_hidden_state, None
        found = core(tokens, output_hidden_states=True)
        if not self.family.is_pooled:
            return core.final_layer_norm(found.hidden_states[-clip_skip]), None
        pooled = None
        if hasattr(encoder, "text_projection"):
            # at the first end mark, not at the highest id, which extra words have
            rows = torch.arange(len(tokens), device=self.device)
            last = found.last_hidden_state[rows, is_end.long().argmax(1).to(self.device)]
            pooled = encoder.text_projection(last)
        return found.hidden_states[-2], pooled

    def encode_prompts(self, prompts: list[str], clip_skip: int = 1) -> Conditioning:
        """Conditioning of plain prompts: each cut into chunks of 75 tokens, all padded to the longest's chunks; pooled
        is the first chunk's. Empty prompts are told as no text at all, as the family was trained: see `silence`."""
        chunks = [self.chunk(self.pieces(prompt)) for prompt in prompts]
        most = max(len(chunk) for chunk in chunks)
        empty = [self.frame([])]
        tokens = torch.tensor([c + empty * (most - len(c)) for c in chunks])
        told = self.encode_tokens(tokens.flatten(0, 1), clip_skip)
        states = told.hidden_states.unflatten(0, (len(prompts), most)).flatten(1, 2)
        told = Conditioning(states, None if told.pooled is None else told.pooled[::most])
        return self.silence(told, [not prompt for prompt in prompts])

    def silence(self, told: Conditioning, is_empty: Sequence[bool]) -> Conditioning:
        """Zeros for the empty ones of a batch, if the family is told no text that way: XL's captions were dropped so
        (Podell et al. 2023), and so do diffusers and the webui with an empty negative prompt."""
        if not self.family.is_silent_without_text or not any(is_empty):
            return told
        empty = torch.tensor(is_empty, device=told.hidden_states.device)
        return told.map(lambda tensor: tensor.masked_fill(empty.view(-1, *[1] * (tensor.dim() - 1)), 0))

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
        """Scaled latents (batch, c, h/8, w/8) of pixels (batch, 3, h, w) in -1..1: the mean, or a random sample."""
        vae = self.networks["vae"]

        height, width = (side // self.factor for side in pixels.shape[2:])
        shape = (len(pixels), self.channels, height, width)
        noise = None if generator is None else torch.randn(shape, generator=generator)

        def encode() -> Tensor:
            posterior = vae.encode(pixels.to(self.device, vae.dtype)).latent_dist
            mean = posterior.mean
            return mean if noise is None else mean + posterior.std * noise.to(mean)

        return (self._without_overflow(encode) - self._latent_shift) * vae.config.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels (batch, 3, h, w) in -1..1 of scaled latents, one image at a time so that batching changes nothing."""
        vae = self.networks["vae"]

        def decode(one: Tensor) -> Tensor:
            return vae.decode(one.to(vae.dtype) / vae.config.scaling_factor + self._latent_shift).sample

        return torch.cat([self._without_overflow(functools.partial(decode, one)) for one in latents.split(1)])

    def _without_overflow(self, compute: Callable[[], Tensor]) -> Tensor:
        """What the autoencoder computes. Where float16's range is too small for it, as for XL's, in float32."""
        vae = self.networks["vae"]
        is_half = vae.dtype == torch.float16
        # diffusers takes every autoencoder for one that overflows if its file says nothing, but heeds that for XL alone
        if not is_half or not (self.family.is_told_sizes and vae.config.force_upcast):
            found = compute()
            if not is_half or found.isfinite().all():
                return found
        vae.float()
        try:
            return compute()
        finally:
            vae.half()  # exactly what it was

    @property
    def _latent_shift(self) -> float:
        return self.networks["vae"].config.get("shift_factor") or 0.0

    def as_trained(self, latents: Tensor, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """What a solver holds at its timestep, as `predict` takes it: scaled, and by our count of timesteps."""
        return latents, timestep

    def as_network_takes(self, latents: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Noisy latents and our count of timesteps as the network itself takes them."""
        return latents, timesteps

    def sizes_of(self, latents: Tensor) -> Tensor:
        """What is told of a whole picture of the latents' size: float32 (1, 6), as Conditioning has it."""
        height, width = (side * self.factor for side in latents.shape[2:])
        return torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32, device=self.device)

    def predict(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """The network's output (noise, v or flow), shaped like `latents`; timesteps (batch,) in
        0..num_train_timesteps-1."""
        added = None
        if self.family.is_told_sizes:
            sizes = conditioning.sizes
            if sizes is None:
                sizes = self.sizes_of(latents)
            added = {"text_embeds": conditioning.pooled, "time_ids": sizes.expand(len(latents), -1)}
        scaled, times = self.as_network_takes(latents, timesteps)
        return self.denoiser(scaled, times, conditioning.hidden_states, added_cond_kwargs=added, return_dict=False)[0]


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """A network's weights by limner.weights' paths, the same whatever transformers' version."""
    return {path.removeprefix("text_model."): tensor for path, tensor in network.state_dict().items()}


def text_core(encoder: nn.Module) -> Any:
    """The transformer inside a CLIP text model: transformers before 5.6 wrapped it once more, as `text_model`."""
    return getattr(encoder, "text_model", encoder)
