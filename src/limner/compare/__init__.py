"""Methods side by side: the same pictures, the same base, the same judges, and what follows from the figures."""

from limner.compare.comparing import Comparison, Happening, Judging, Learning, Training, compare

__all__ = ["Comparison", "Happening", "Judging", "Learning", "Training", "compare"]
