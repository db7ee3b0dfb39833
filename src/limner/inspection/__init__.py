"""What anything that Limner reads or writes is, and how two of a kind differ: files of tensors, pictures, folders."""

from limner.inspection.difference import Difference, explain
from limner.inspection.examine import Facts, examine

__all__ = ["Difference", "Facts", "examine", "explain"]
