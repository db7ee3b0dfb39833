"""A rectangle of a picture, in shares of its sides, so that it means the same at every size."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """Left, top, right and bottom in 0..1 of the upright picture's width and height."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """Share of the picture."""
        return (self.right - self.left) * (self.bottom - self.top)
