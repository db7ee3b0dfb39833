"""Small ICC profiles that Pillow cannot make itself: Display P3, a grey, a press. Layout: ICC.1:2001-04."""

import itertools
import struct

# Primaries adapted to D50 by Bradford's transform, as in SMPTE EG 432-1 with the D65 white point.
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
D50 = (0.9642, 1.0, 0.8249)
GAMMA = 2.2
# CIELAB of paper and inks on it, about as ISO 12647-2 has them for coated paper, by which of C, M, Y are printed.
INKS = {
    (0, 0, 0): (95, 0, -2),
    (0, 0, 1): (89, -5, 93),
    (0, 1, 0): (48, 74, -3),
    (0, 1, 1): (47, 68, 48),
    (1, 0, 0): (55, -37, -50),
    (1, 0, 1): (50, -68, 25),
    (1, 1, 0): (24, 22, -46),
    (1, 1, 1): (23, 0, 0),
}
BLACK = 0.17  # of the lightness and colour that is left where black is printed over it


def display_p3() -> bytes:
    """A matrix profile with the primaries of Display P3 (and gamma 2.2 for its curve)."""
    tags = {name: _xyz(value) for name, value in zip((b"rXYZ", b"gXYZ", b"bXYZ"), DISPLAY_P3, strict=True)}
    return _profile(b"RGB ", "Display P3", tags | {name: _curve() for name in (b"rTRC", b"gTRC", b"bTRC")})


def grey() -> bytes:
    return _profile(b"GRAY", "Grey gamma 2.2", {b"kTRC": _curve()})


def press() -> bytes:
    """CMYK to CIELAB: the printed solids, and what is straight between them."""
    solids = bytearray()
    for *inks, black in itertools.product((0, 1), repeat=4):
        lightness, a, b = (value * (BLACK if black else 1) for value in INKS[tuple(inks)])  # type: ignore[index]
        solids += bytes((round(lightness * 2.55), round(a + 128), round(b + 128)))
    unchanged = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * (at % 4 == 0) for at in range(9)))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity + 4 * unchanged + bytes(solids) + 3 * unchanged
    return _profile(b"CMYK", "A press", {b"A2B0": table}, kind=b"prtr", connection=b"Lab ")


def _profile(
    space: bytes, name: str, tags: dict[bytes, bytes], kind: bytes = b"mntr", connection: bytes = b"XYZ "
) -> bytes:
    tags = {b"desc": _description(name), b"cprt": b"text\0\0\0\0CC0\0", b"wtpt": _xyz(D50)} | tags
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += struct.pack(">4sII", tag, at + len(body), len(data))
        body += padded
    header = struct.pack(
        ">I4sI4s4s4s12s4s",
        at + len(body),
        b"\0\0\0\0",
        0x02100000,
        kind,
        space,
        connection,
        struct.pack(">6H", 2026, 1, 1, 0, 0, 0),
        b"acsp",
    )
    header += bytes(68 - len(header)) + struct.pack(">3i", *(round(value * 65536) for value in D50))
    return header + bytes(128 - len(header)) + struct.pack(">I", len(tags)) + table + body


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve() -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(GAMMA * 256))


def _description(name: str) -> bytes:
    text = name.encode() + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(8 + 3 + 67)
