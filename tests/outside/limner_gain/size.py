"""A captioner of its own, which says how large a picture is."""

from typing import ClassVar

from PIL import Image
from pydantic import Field

from limner.captions.captioner import Captioner
from limner.checking.facts import Facts
from limner.config import Settings


class SizeConfig(Settings):
    unit: str = Field("pixels", description="What sides are counted in.")


class Size(Captioner):
    Config: ClassVar[type[Settings]] = SizeConfig
    in_workers = True
    gives_tags = True

    def describe(self, image: Image.Image, facts: Facts) -> list[str]:
        assert isinstance(self.config, SizeConfig)
        return [f"{image.width} {self.config.unit} wide", f"{facts.height} {self.config.unit} high", "dog"]
