"""What families of base models differ in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Encoder:
    """A text encoder. name, tokenizer: diffusers' component names."""

    name: str  # "text_encoder"
    tokenizer: str  # "tokenizer"
    prefix: str  # kohya's, as in "lora_te"


@dataclass(frozen=True)
class Family:
    """The facts by which families of base models differ. Names only: networks come from diffusers and transformers."""

    name: str  # "sd1"
    title: str  # "Stable Diffusion 1.x"
    resolution: int  # pixels at which it was trained
    encoders: tuple[Encoder, ...]
    is_pooled: bool  # whether the network is told a pooled text too, and the states of the last layer but one
    is_told_sizes: bool  # whether it is told sizes too, as XL's is
    modelspec: str  # modelspec.architecture
    ss_base_model_version: str  # sd-scripts' name of it
    pipeline: str  # diffusers' class
    denoiser: str = "unet"
    lora_format: str = "kohya"  # of limner.formats, in which programs expect its LoRAs
    is_silent_without_text: bool = False  # whether no text is told as zeros, not as an empty prompt's states

    @property
    def networks(self) -> tuple[str, ...]:
        """All networks, by diffusers' component names."""
        return (self.denoiser, "vae", *(encoder.name for encoder in self.encoders))
