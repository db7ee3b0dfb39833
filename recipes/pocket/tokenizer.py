"""The CLIP tokenizer's files, regenerated from the vocabulary that the open_clip_torch wheel carries (MIT)."""

import gzip
import json
import subprocess
import sys
import zipfile
from pathlib import Path

from recipes.pocket import BUILD

WHEEL = "open_clip_torch==3.3.0"
VOCABULARY = "open_clip/bpe_simple_vocab_16e6.txt.gz"

MERGES = slice(1, 49152 - 256 - 2 + 1)
CONFIG = {
    "tokenizer_class": "CLIPTokenizer",
    "bos_token": "<|startoftext|>",
    "eos_token": "<|endoftext|>",
    "unk_token": "<|endoftext|>",
    "pad_token": "<|endoftext|>",
    "add_prefix_space": False,
    "do_lower_case": True,
    "errors": "replace",
    "model_max_length": 77,
}


def byte_symbols() -> list[str]:
    """The printable stand-ins of the 256 bytes in the order of GPT-2's and CLIP's byte-pair vocabularies."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def fetch_merges() -> list[str]:
    """The merges of the vocabulary. The wheel is opened, not installed: it would bring another torch."""
    folder = BUILD / "wheels"
    if not list(folder.glob("open_clip_torch-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
        subprocess.run(command, check=True)
    (path,) = folder.glob("open_clip_torch-*.whl")
    with zipfile.ZipFile(path) as wheel:
        return gzip.decompress(wheel.read(VOCABULARY)).decode("utf-8").split("\n")[MERGES]


def write_tokenizer(folder: Path) -> None:
    """vocab.json (49,408 entries), merges.txt and tokenizer_config.json, as transformers reads them."""
    merges = fetch_merges()
    symbols = byte_symbols()
    words = [*symbols, *(s + "</w>" for s in symbols), *(m.replace(" ", "") for m in merges)]
    vocabulary = {word: index for index, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(CONFIG, indent=2))
