"""Every family of base models that Limner knows, by name."""

from limner.base.family import Family
from limner.base.sd1 import SD1
from limner.base.sd2 import SD2
from limner.base.sd3 import SD3
from limner.base.sdxl import SDXL

# Those with a UNet, of which there are single files of the original layout, and LoRAs of kohya's.
UNETS: dict[str, Family] = {family.name: family for family in (SD1, SD2, SDXL)}
FAMILIES: dict[str, Family] = UNETS | {SD3.name: SD3}
