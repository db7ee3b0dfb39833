"""Files of the shelf renamed and put away, with what lies beside them."""

from pathlib import Path

import pytest
from shelf_files import embedding, lora

from limner.errors import UserError
from limner.library.reader import Reader
from limner.library.scan import hash_files, scan
from limner.library.shelf import ShelfFile
from limner.library.store import Store
from limner.library.tidy import TRASH, remove, rename


@pytest.fixture
def ink(root: Path, store: Store, reader: Reader) -> ShelfFile:
    path = lora(root / "Lora/deep/ink.safetensors", **{"modelspec.title": "Wash"})
    for ending in (".preview.png", ".json"):
        path.with_name(f"ink{ending}").write_bytes(b"beside")
    list(scan(store, root, reader))
    list(hash_files(store, root, store.find(root), reader))
    (found,) = store.find(root)
    return found


def everything(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_renamed_file_stays_known(root: Path, store: Store, reader: Reader, ink: ShelfFile) -> None:
    assert rename(store, ink, "fox wash") == "Lora/deep/fox wash.safetensors"
    assert everything(root) == [f"Lora/deep/fox wash{ending}" for ending in (".json", ".preview.png", ".safetensors")]
    (found,) = store.find(root, "fox wash")
    assert (found.hashes, found.preview) == (ink.hashes, "Lora/deep/fox wash.preview.png")
    assert store.find(root, "ink") == []
    assert list(scan(store, root, reader))[-1].read == 0
    assert store.find(root) == [found]


def test_an_embedding_is_called_by_its_new_name(root: Path, store: Store, reader: Reader) -> None:
    embedding(root / "embeddings/old.safetensors", 768)
    list(scan(store, root, reader))
    (found,) = store.find(root)
    assert found.keywords == ("old",)
    rename(store, found, "new")
    list(scan(store, root, reader))
    (found,) = store.find(root)
    assert found.keywords == ("new",)


@pytest.mark.parametrize("stem", ["", " ", "../out", "a/b", "a<b>", "con", ".hidden.", "a:b", "a\u202eb", "\0"])
def test_names_that_no_file_should_have(root: Path, store: Store, ink: ShelfFile, stem: str) -> None:
    before = everything(root)
    with pytest.raises(UserError, match="cannot be the name"):
        rename(store, ink, stem)
    assert everything(root) == before


def test_no_file_takes_the_place_of_another(root: Path, store: Store, ink: ShelfFile) -> None:
    (root / "Lora/deep/fox.json").write_bytes(b"another's")
    with pytest.raises(UserError, match=r"there is a fox\.json already"):
        rename(store, ink, "fox")
    assert ink.path.exists()


def test_what_is_removed_lies_in_the_trash(root: Path, store: Store, reader: Reader, ink: ShelfFile) -> None:
    body = ink.path.read_bytes()
    assert remove(store, ink) == root / TRASH / "Lora/deep/ink.safetensors"
    assert store.find(root) == []
    ink.path.write_bytes(body)
    list(scan(store, root, reader))
    (again,) = store.find(root)
    assert remove(store, again).name == "ink (2).safetensors"
    assert everything(root) == [
        f"{TRASH}/Lora/deep/{name}"
        for name in ("ink (2).safetensors", "ink.json", "ink.preview.png", "ink.safetensors")
    ]
    assert list(scan(store, root, reader))[-1].total == 0
    with pytest.raises(UserError, match="not there any more"):
        remove(store, again)
