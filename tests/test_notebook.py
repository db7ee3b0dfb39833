"""The Colab notebook, run without Colab: its commands are ones that the program takes, and it goes on where it was."""

import json
import re
import shlex
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from limner.cli import app, verbs

CELLS = json.loads((Path(__file__).parents[1] / "notebooks" / "limner_colab.ipynb").read_text(encoding="utf-8"))[
    "cells"
]
INSTALL, BASE, IMAGES, TRAIN, GENERATE, HOME = [
    "".join(each["source"]) for each in CELLS if each["cell_type"] == "code"
]


class Notebook:
    """A notebook's memory. commands: what was given to the shell."""

    def __init__(self, folder: Path) -> None:
        self.commands: list[list[str]] = []
        self.values: dict[str, Any] = {"shell": self._shell}
        self.folder = folder

    def _shell(self, line: str) -> None:
        words = shlex.split(line)
        self.commands.append(words)
        if words[0] == "limner" and words[1] in verbs.SETTINGS:
            _, bound, _ = app.parse_args(words[1:], print_error=False, exit_on_error=False)[:3]
            assert bound.arguments is not None

    def run(self, cell: str, **form: Any) -> None:
        """A cell with its form filled in; "!" lines go to the shell, {expressions} in them worked out."""
        cell = cell.replace("/content/", f"{self.folder}/content/")
        for name, value in form.items():
            cell, count = re.subn(rf"^{name} = .*# @param", f"{name} = {value!r} # @param", cell, flags=re.MULTILINE)
            assert count == 1, name
        cell = re.sub(r"^(\s*)!(.*)$", r'\1shell(f"""\2""")', cell, flags=re.MULTILINE)
        exec(compile(cell, "cell", "exec"), self.values)

    def last(self, verb: str) -> list[str]:
        return next(words for words in reversed(self.commands) if words[:2] == ["limner", verb])


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notebook:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "limner").mkdir()  # as if cloned
    colab, home = types.ModuleType("google.colab"), types.ModuleType("google")
    colab.drive = types.SimpleNamespace(mount=lambda path: None)  # type: ignore[attr-defined]
    colab.files = types.SimpleNamespace(  # type: ignore[attr-defined]
        upload=lambda: {"../my cat.jpg": b"1"}, download=lambda path: None
    )
    display = types.ModuleType("IPython.display")
    display.Image = display.display = lambda value: None  # type: ignore[attr-defined]
    for name, module in {"google": home, "google.colab": colab, "IPython.display": display}.items():
        monkeypatch.setitem(sys.modules, name, module)
    return Notebook(tmp_path)


@pytest.mark.parametrize("method", re.findall(r'"([\w+]+)"', TRAIN.partition("@param")[2].partition("\n")[0]))
def test_each_method_is_trained_used_and_gone_on_with(notebook: Notebook, method: str, tmp_path: Path) -> None:
    notebook.run(INSTALL)
    base = tmp_path / "content/drive/MyDrive/my models"
    base.mkdir(parents=True)
    (base / "xl.safetensors").write_bytes(b"")
    notebook.run(BASE, base=str(base / "xl.safetensors"))
    notebook.run(IMAGES)
    work = tmp_path / "content/drive/MyDrive/limner"
    assert (work / "photos/zqvx/my cat.jpg").read_bytes() == b"1"
    notebook.run(TRAIN, method=method, more_settings="steps=800")
    words = notebook.last("train")
    assert words[words.index("--base") + 1] == str(base / "xl.safetensors")
    assert words[words.index("--method") + 1] == method
    run = Path(words[words.index("--run") + 1])
    assert run.is_relative_to(work)

    run.mkdir()  # a training that Colab broke off
    (run / "run.toml").write_text("")
    again = Notebook(tmp_path)
    again.run(INSTALL)
    again.run(BASE, base=str(base / "xl.safetensors"))
    again.run(IMAGES)
    again.run(TRAIN, method=method)
    assert again.last("resume") == ["limner", "resume", str(run)]

    file = Path(words[words.index("--out") + 1])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"")  # a finished one
    count = len(again.commands)
    again.run(TRAIN, method=method)
    assert len(again.commands) == count
    again.run(GENERATE)
    words = again.last("generate")
    assert (f"<lora:{file.stem}:1.0>" in words[2]) == (method not in ("dreambooth", "embedding"))
    assert (words[words.index("--base") + 1] == str(file)) == (method == "dreambooth")
    again.run(HOME)


def test_nothing_is_trained_without_a_base(notebook: Notebook) -> None:
    notebook.run(INSTALL, keep_on_drive=False)
    with pytest.raises(SystemExit, match="base model first"):
        notebook.run(BASE)
    with pytest.raises(SystemExit, match="no file /nowhere"):
        notebook.run(BASE, base="/nowhere/a/b.safetensors")
    notebook.run(BASE, base="pocket")
    notebook.run(IMAGES, use_sample_pictures=True)
    notebook.run(TRAIN)
    assert notebook.last("train")[2] == "limner/src/limner/samples"
    assert not (notebook.folder / "content/drive").exists()


def test_models_are_fetched_by_page_address_or_hub_id(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[Any] = []
    notebook.run(INSTALL)

    def run(command: list[str], **options: Any) -> Any:
        asked.append(command)
        if command[0] == "curl":
            Path(command[command.index("--output") + 1]).write_bytes(b"")
        answer = (
            {"error": "no such model"} if "civitai:0@0" in command else {"file": str(notebook.folder / "a.safetensors")}
        )
        return types.SimpleNamespace(stdout=f"a line\n{json.dumps(answer)}", returncode=0)

    monkeypatch.setattr(notebook.values["subprocess"], "run", run)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **patterns: asked.append(name))
    for base in ("https://civitai.com/models/12?modelVersionId=34", "civitai:12@34", "hub:owner/name/xl.safetensors"):
        notebook.run(BASE, base=base)
        assert asked[-1][:3] == ["limner", "download", base]
        assert notebook.values["opened"].endswith("a.safetensors")
    with pytest.raises(SystemExit, match="no such model"):
        notebook.run(BASE, base="civitai:0@0")
    notebook.run(BASE, base="https://files.example/xl.safetensors?token=1")
    assert Path(notebook.values["opened"]).name == "xl.safetensors"
    assert Path(notebook.values["opened"]).exists()
    notebook.run(BASE, base="owner/name")
    assert asked[-1] == "owner/name"
