"""The recipe of the bundled sample images."""
