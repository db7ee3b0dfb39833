"""One picture's facts, from its bytes: decoded once, at a size that shows what is asked."""

import hashlib

from limner.checking.facts import Facts
from limner.data.colour import to_srgb
from limner.data.decode import Unusable, check, decode
from limner.data.source import Source
from limner.vision.hashes import phash


def measure(source: Source) -> Facts:
    """What is to be known of a picture; never raises for what the file is."""
    try:
        data = source.read()
    except Unusable as problem:
        return Facts(source.name, problem=str(problem))
    known = {"name": source.name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    try:
        width, height = check(data)
    except Unusable as problem:
        return Facts(**known, problem=str(problem))  # type: ignore[arg-type]
    image = to_srgb(decode(data))
    return Facts(**known, width=width, height=height, hashes=(("whole", phash(image)),))  # type: ignore[arg-type]
