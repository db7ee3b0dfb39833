"""What captioners of transformers share: a network and its processor from a folder, and one sentence from both.

Only classes that transformers itself has are used: no code that comes with a model is run, nothing is unpickled.
"""

from abc import abstractmethod
from typing import Any, ClassVar

from PIL import Image
from pydantic import Field

from limner.captions.captioner import Captioner, Model
from limner.checking.facts import Facts
from limner.config import Settings
from limner.errors import UserError, is_out_of_memory

FILES = ("*.json", "*.txt", "*.model", "*.safetensors")


class SentenceConfig(Settings):
    """What a captioner that writes a sentence can be told."""

    most_tokens: int = Field(60, ge=5, le=1000, description="The sentence is cut there; 75 is what a base reads.")
    beams: int = Field(3, ge=1, le=16, description="Beginnings that are followed at once; more take more time.")


class Sentences(Captioner):
    """A captioner whose network writes. families: the kinds of network, by transformers' model_type.

    Nothing is drawn by chance, and pictures are asked one at a time, so that a sentence depends on its picture alone.
    """

    Config: ClassVar[type[Settings]] = SentenceConfig
    families: ClassVar[tuple[str, ...]]
    usual: ClassVar[str]  # a published model of the kind, for messages

    def __init__(self, config: Settings, model: Model) -> None:
        super().__init__(config, model)
        folder = model.find(f"the captioner, such as {self.usual}", FILES)
        import transformers

        from limner.device import choose_device

        transformers.utils.logging.disable_progress_bar()
        network: Any
        try:
            family = transformers.AutoConfig.from_pretrained(folder, local_files_only=True).model_type
            if family not in self.families:
                raise UserError(
                    f"{folder} holds a network of the kind {family}, and this captioner takes "
                    f"{' or '.join(self.families)}; give another folder, or another --captioner"
                )
            network = transformers.AutoModelForImageTextToText.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
            self._processor: Any = transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
            if is_out_of_memory(error):
                raise
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UserError(
                f"cannot open a captioner in {folder} ({reason}); give a folder in transformers' layout with "
                f"safetensors, such as {self.usual}"
            ) from error
        self._device = choose_device(model.device)
        self._network = network.float().to(self._device).requires_grad_(False).eval()

    @abstractmethod
    def prompt(self) -> str | None:
        """What the network is asked; None where it needs no text."""

    def describe(self, image: Image.Image, facts: Facts) -> list[str]:
        import torch

        config = self.config
        assert isinstance(config, SentenceConfig)
        asked = {} if self.prompt() is None else {"text": self.prompt()}
        inputs = self._processor(images=image, **asked, return_tensors="pt").to(self._device)
        with torch.no_grad():
            ids = self._network.generate(
                **inputs, max_new_tokens=config.most_tokens, num_beams=config.beams, do_sample=False
            )
        return [" ".join(self._processor.tokenizer.decode(ids[0], skip_special_tokens=True).split())]
