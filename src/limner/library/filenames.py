"""File names from the net, made fit for a folder here: a stranger chooses them (interop 8.3)."""

import re
import unicodedata
from urllib.parse import unquote

MOST_LENGTH = 150  # characters of a stem
MOST_BYTES = 200  # of a stem: file systems count them, and allow 255 with the ending
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\..*)?", re.IGNORECASE)
FORBIDDEN = '<>:"|?*'  # on some file system or other
SPECIAL = ",<>"  # end a name in a prompt's tag, as does the colon


def clean_stem(name: str, fallback: str) -> str:
    """The stem of a file for a name from anywhere: no folders, no ending, nothing that acts on a terminal or shell,
    nothing that a file system or the webui's prompts cannot hold.

    fallback: what it is called if nothing is left.
    """
    name = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())
    last = re.split(r"[/\\]", name)[-1]
    stem = re.sub(r"\.(safetensors|ckpt|pt|pth|bin|png|zip|gguf)$", "", last.strip(), flags=re.IGNORECASE)
    # of what is invisible, marks that turn the direction of text among them, nothing stays
    stem = "".join("_" if c in FORBIDDEN or c in SPECIAL else c for c in stem if c.isprintable())
    stem = re.sub(r"\s+", " ", stem).strip(" .").lstrip("-~")[:MOST_LENGTH]
    while len(stem.encode()) > MOST_BYTES:
        stem = stem[:-1]
    stem = stem.strip(" .")
    return fallback if not stem.strip("_ .") or RESERVED.fullmatch(stem) else stem


def disposition_name(header: str) -> str:
    """The file name in a Content-Disposition, "" if there is none; not cleaned."""
    extended = re.search(r"filename\*\s*=\s*(?:utf-8|iso-8859-1)''([^;\s]+)", header, re.IGNORECASE)
    if extended:
        return unquote(extended[1], errors="replace")
    plain = re.search(r'filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))', header, re.IGNORECASE)
    return "" if plain is None else re.sub(r"\\(.)", r"\1", plain[1] or plain[2] or "")
