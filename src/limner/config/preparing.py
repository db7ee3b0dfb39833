"""The settings of `limner prepare`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from limner.config.captions import Captioning
from limner.config.common import Base, Cache, ClassPrompt, FaceModel, Machine
from limner.config.settings import FilePath, Usual, Words

ImageFormat = Literal["png", "webp", "jpeg"]


class PrepareSettings(Captioning, FaceModel, ClassPrompt, Base, Cache, Machine):
    """Settings of `limner prepare`."""

    title: ClassVar[str] = "Pictures"

    images: FilePath = Field(description="Folder of pictures, with its subfolders, or a zip of them; never changed.")
    out: FilePath = Field(description="Folder for the data set: a new or empty one, or one that prepare wrote before.")
    resolution: Annotated[int | None, Usual(256, 1536)] = Field(
        None,
        ge=32,
        le=4096,
        description="Pixels along a square picture's side; by default the base's own, without a base 512.",
    )
    subject: Literal["object", "person", "animal", "style"] = Field(
        "object", description="What the pictures are of, by which they are judged."
    )
    keep: tuple[str, ...] = Field(
        (), description="A kind of fault that is no reason to leave a picture out, as in blurred; may be repeated."
    )
    drop: tuple[str, ...] = Field(
        (), description="A kind of note that is a reason to leave a picture out, as in text; may be repeated."
    )
    bucket_step: Annotated[int | None, Usual(8, 128)] = Field(
        None, ge=8, le=1024, description="Pixels between the sides of buckets; by default as in training."
    )
    bucket_count: Annotated[int | None, Usual(1, 100)] = Field(
        None, ge=1, le=1000, description="At most so many shapes, those nearest to a square; by default all."
    )
    most_enlargement: Annotated[float, Usual(1, 2)] = Field(
        1.5, ge=1, le=8, description="What would have to be enlarged more, along a side, is left out."
    )
    format: ImageFormat = Field("png", description="Of the pictures that are written; webp is lossless.")
    masks: FilePath | None = Field(
        None, description="Folder of masks by the pictures' names; those beside the pictures are found by themselves."
    )
    alpha_masks: bool = Field(False, description="Take the transparency of pictures without a mask as theirs.")
    mask_model: str | None = Field(
        None,
        description="Segmentation model that makes the masks of pictures that have none: an .onnx file, or a folder or "
        "hub id of one or of transformers'.",
    )
    mask_label: Words = Field(
        "", description="What the subject is in the segmentation model's words; by default the class."
    )
    mask_files: Literal["none", "folder", "beside"] = Field(
        "folder",
        description="Where masks go, if pictures have any: a folder masks, or beside the pictures for OneTrainer.",
    )
    repeats: Annotated[int, Usual(1, 100)] = Field(
        1, ge=1, le=10_000, description="What dataset.toml says how often an epoch shows each picture."
    )
    class_images: int | FilePath | None = Field(
        None, description="How many pictures of the class the base is to draw beside; or a folder or zip of them."
    )
    workers: Annotated[int | None, Usual(1, 64)] = Field(
        None, ge=1, le=256, description="Processes; by default one for each core."
    )

    @property
    def side(self) -> int:
        """The resolution, once it is decided."""
        assert self.resolution is not None
        return self.resolution
