"""Names from the net."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.library.filenames import RESERVED, clean_stem, disposition_name

CASES = {
    "Ink Wash v2.safetensors": "Ink Wash v2",
    "../../up.safetensors": "up",
    "..\\..\\up.ckpt": "up",
    "/etc/passwd": "passwd",
    "con.safetensors": "f",
    "LPT1": "f",
    "com1.x.safetensors": "f",
    "..": "f",
    "": "f",
    "...safetensors": "f",
    ".hidden.pt": "hidden",
    "a:b<c>d.safetensors": "a_b_c_d",
    "\u202egpj.exe\u202c.safetensors": "gpj.exe",
    "tab\there\x1b[31m.pt": "tabhere[31m",
    "trailing. . .safetensors": "trailing",
    "--option.safetensors": "option",
    "墨.safetensors": "墨",
    "a.SafeTensors": "a",
    "v1.5.safetensors": "v1.5",
}


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str) -> None:
    assert clean_stem(name, "f") == CASES[name]


@given(st.text(st.characters(), max_size=400))
def test_any_name_is_one_file_of_the_folder(name: str) -> None:
    stem = clean_stem(name, "f")
    assert stem
    assert stem == Path(stem).name
    assert not set(stem) & set('/\\<>:"|?*\0,')
    assert stem.isprintable()
    assert not stem.startswith((".", "-", " "))
    assert not stem.endswith((".", " "))
    assert len(stem.encode()) <= 200
    assert not RESERVED.fullmatch(stem)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in stem)
    assert clean_stem(stem, "f") == stem or "." in stem


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="a b.safetensors"', "a b.safetensors"),
        ("attachment; filename=a.safetensors; size=3", "a.safetensors"),
        ("attachment; filename=\"x\"; filename*=UTF-8''%E5%A2%A8.pt", "墨.pt"),
        ('attachment; filename="quo\\"te.pt"', 'quo"te.pt'),
        ("inline", ""),
        ("", ""),
    ],
)
def test_content_disposition(header: str, name: str) -> None:
    assert disposition_name(header) == name
