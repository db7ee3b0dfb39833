"""Files of named tensors, whatever they are for: read with bounds before anything in them is believed."""

from limner.container.file import Header, TensorFile, open_tensors

__all__ = ["Header", "TensorFile", "open_tensors"]
