"""Captions: where they stand, what proposes them, how they are edited."""
