"""Limner teaches Stable Diffusion a new subject from a few images. Importing this package loads no torch."""

__version__ = "0.1.0"
