"""Every family of base models that Limner knows, by name."""

from limner.base.model import BaseModel, Family
from limner.base.sd1 import SD1
from limner.base.sd2 import SD2
from limner.base.sd3 import SD3, FlowModel
from limner.base.sdxl import SDXL

FAMILIES: dict[str, Family] = {family.name: family for family in (SD1, SD2, SDXL, SD3)}
MODELS: dict[str, type[BaseModel]] = {SD3.name: FlowModel}  # of families that are more than names
