"""Taggers of the WD14 kind: ONNX networks that give each of some thousand tags a probability.

As SmilingWolf's published models (wd-v1-4-*-tagger-v2, wd-*-tagger-v3 on the hub, Apache-2.0) and their demonstration
take pictures: padded with white to a square, 448 pixels wide, blue before red, 0..255, (1, side, side, 3). The tags are
those of selected_tags.csv beside the network, in its order; category 0 is general, 4 a character, 9 a rating.
"""

import csv
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from limner.captions.captioner import Captioner, Model
from limner.checking.facts import Facts
from limner.config import Settings
from limner.errors import UserError
from limner.texts import read_text

NETWORK, TAGS = "model.onnx", "selected_tags.csv"
SIDE = 448
WHITE = (255, 255, 255)
GENERAL, CHARACTER, RATING = "0", "4", "9"
LONGEST_EYE = 3  # characters on either side of a kaomoji's mouth, as in (o)_(o)


class WD14Config(Settings):
    """What a tagger can be told."""

    threshold: float = Field(0.35, gt=0, le=1, description="General tags less probable are left out.")
    character_threshold: float = Field(0.85, gt=0, le=1, description="The same for tags that name a character.")
    rating: bool = Field(False, description="Say the most probable rating too, as in general or sensitive.")
    escape: bool = Field(
        False, description="Write brackets with the backslashes that prompts of the webui need; not for training."
    )


class WD14(Captioner):
    """Tags by falling probability, characters first."""

    Config: ClassVar[type[Settings]] = WD14Config
    gives_tags = True

    def __init__(self, config: Settings, model: Model) -> None:
        import onnxruntime

        super().__init__(config, model)
        folder = model.find("the tagger", (NETWORK, TAGS))
        self._tags = read_tags(folder / TAGS)
        options = onnxruntime.SessionOptions()
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(folder / NETWORK, options, ["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own have no common class
            reason = str(error).strip().splitlines()[0] if (folder / NETWORK).is_file() else "there is none"
            raise UserError(
                f"cannot open {folder / NETWORK} ({reason}); give the folder of a WD14 tagger with {NETWORK} and {TAGS}"
            ) from error
        self._side = self._check(folder)

    def _check(self, folder: Path) -> int:
        """The side of pictures that the network takes. Raises UserError if it is none of this kind."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or shape[3] != 3 or "float" not in inputs[0].type:
            raise UserError(
                f"{folder / NETWORK} takes {shape} and not pictures of {SIDE}x{SIDE}x3; give a WD14 tagger's network"
            )
        count = outputs[0].shape[-1]
        if isinstance(count, int) and count != len(self._tags):
            raise UserError(
                f"{folder / TAGS} has {len(self._tags)} tags and the network {count}; take both from the same model"
            )
        return shape[1] if isinstance(shape[1], int) else SIDE

    def describe(self, image: Image.Image, facts: Facts) -> list[str]:
        config = self.config
        assert isinstance(config, WD14Config)
        pixels = prepare(image, self._side)
        found = self._session.run(None, {self._session.get_inputs()[0].name: pixels})[0][0]
        sure = sorted(zip(self._tags, found.tolist(), strict=True), key=lambda each: (-each[1], each[0]))
        least = {GENERAL: config.threshold, CHARACTER: config.character_threshold}
        said = [
            name
            for wanted in (CHARACTER, GENERAL)
            for (name, category), probability in sure
            if category == wanted and probability >= least[wanted]
        ]
        if config.rating:
            said += [name for (name, category), _ in sure if category == RATING][:1]
        return [in_words(name, config.escape) for name in said]


def prepare(image: Image.Image, side: int = SIDE) -> NDArray[np.float32]:
    """A picture of mode "RGB" as the networks take it: (1, side, side, 3), blue first, 0..255."""
    longest = max(image.size)
    square = Image.new("RGB", (longest, longest), WHITE)
    square.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
    if longest != side:
        square = square.resize((side, side), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(square, np.float32)[None, :, :, ::-1])


def in_words(tag: str, escape: bool) -> str:
    """A tag as captions say it: blanks for underscores, but for those that are the mouth of a face such as o_o."""
    text = tag if _is_face(tag) else tag.replace("_", " ")
    if escape:
        text = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    return text.replace(",", " ")


def _is_face(tag: str) -> bool:
    """Whether it is a kaomoji: two eyes of at most one letter or digit each, and a mouth."""
    eyes = tag.split("_")
    return len(eyes) == 2 and all(len(eye) <= LONGEST_EYE and sum(map(str.isalnum, eye)) <= 1 for eye in eyes)


def read_tags(path: Path) -> list[tuple[str, str]]:
    """(name, category) of each tag. Raises UserError."""
    try:
        return [(row["name"], row["category"]) for row in csv.DictReader(read_text(path).splitlines())]
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); it comes with the tagger's network") from error
    except (KeyError, csv.Error) as error:
        raise UserError(f"{path} is no list of tags with the columns name and category; fetch it again") from error
