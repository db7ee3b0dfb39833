"""What messages name is there: every option of a sentence is one of the commands that can print it."""

import ast
import errno
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import limner
from limner.cli import main, verbs
from limner.cli.app import COMMON, CONFIGURABLE, SETTINGS
from limner.config import Settings, TrainSettings, names
from limner.container.file import TensorFile
from limner.errors import MEMORY_ADVICE, UserError, advice, is_out_of_memory, memory_advice
from limner.methods.slider import SliderConfig
from limner.studio.forms import in_words_of_forms
from limner.studio.requests import TrainRequest

SOURCE = Path(limner.__file__).parent
OPTION = re.compile(r"(?<![\w-])--([a-z][\w-]*)")
GAP = "\N{OBJECT REPLACEMENT CHARACTER}"  # stands for what an f-string puts in

TRAINING = ("train", "dreambooth")
EVERY = tuple(SETTINGS)
OPENS_A_BASE = (*TRAINING, "generate", "grid", "evaluate", "compare", "keyword", "prepare")
DRAWS = ("generate", "grid")
EDITS = ("convert", "extract", "merge", "resize")
# The commands that a module's sentences can come from, by the longest path that fits. "resume" is not among those of a
# sentence that is only ever said of settings that are new.
MODULES = {
    "": (),
    "base/find.py": OPENS_A_BASE,
    "base/open.py": OPENS_A_BASE,
    "base/single.py": OPENS_A_BASE,
    "captions/": ("captions", "prepare"),
    "captions/edits.py": ("captions",),
    "checking/": ("check", "prepare"),
    "cli/__init__.py": EVERY,
    "cli/captions.py": ("captions",),
    "cli/check.py": ("check",),
    "cli/difference.py": ("inspect",),
    "cli/facts.py": ("inspect",),
    "cli/library.py": ("search", "models"),
    "cli/options.py": TRAINING,
    "cli/pictures.py": DRAWS,
    "cli/prepare.py": ("prepare",),
    "cli/show.py": ("demo",),
    "cli/verbs.py": (*TRAINING, "generate"),  # the command that tries what was trained, put together
    "compare/": ("compare",),
    "compare/training.py": ("compare", "train"),
    "config/captions.py": ("captions",),
    "config/commands.py": ("grid",),
    "config/editing.py": EDITS,
    "config/preparing.py": ("prepare",),
    "config/settings.py": EVERY,
    "config/training.py": TRAINING,
    "demo.py": ("demo",),
    "device.py": OPENS_A_BASE,
    "doctor.py": ("train",),  # it names folders that others use
    "edit/": EDITS,
    "edit/convert.py": ("convert",),
    "edit/extract.py": ("extract",),
    "evaluate/": ("evaluate", "compare"),
    "files.py": (*TRAINING, *DRAWS, *EDITS, "check", "prepare", "keyword", "compare"),
    "formats/diffusers.py": (*TRAINING, "resume", "convert"),
    "generate/": DRAWS,
    "generate/pixels.py": (*OPENS_A_BASE, "resume", "demo"),
    "grid.py": ("grid",),
    "library/": ("download",),
    "library/scan.py": ("search", "download", "models"),
    "methods/": TRAINING,
    "preparation/": ("prepare",),
    "run/": TRAINING,
    "run/folder.py": (*TRAINING, "resume"),
    "run/training.py": ("resume",),
    "studio/": (),
    "studio/serve.py": ("studio",),
    "train.py": (*TRAINING, "resume"),
}
# Where alternatives stand side by side, of which each command has its own.
ANY_OF_THEM = (
    "cli/verbs.py",
    "config/settings.py",
    "config/editing.py",
    "cli/library.py",
    "compare/training.py",
    "files.py",
    "edit/written.py",
)
ELSEWHERE = {
    *("--dataset_config", "--masked_loss"),  # sd-scripts'
    *("--python", "--torch-backend", "--reinstall-package", "--upgrade", "--force-reinstall"),  # pip's and uv's
    *("--query-gpu", "--format"),  # nvidia-smi's
}
NO_SENTENCES = (
    "checking/page.py",
    "compare/page.py",
    "preparation/page.py",
    "run/page.py",
    "studio/forms.py",
)  # CSS, and patterns


def options(verb: str) -> set[str]:
    settings = SETTINGS[verb]
    own = {name.replace("_", "-") for name in names(settings)} | {"help"}
    own |= {parameter.name.strip("_") for parameter in COMMON}
    if verb in TRAINING:
        own |= {"dry-run", "rank"} | {parameter.name.strip("_") for parameter in CONFIGURABLE}
    return own


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """The string literals of a module but for docstrings, f-strings whole."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    inside |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else GAP for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.lineno, node.value


def commands_of(module: str) -> tuple[str, ...]:
    return MODULES[max((prefix for prefix in MODULES if module.startswith(prefix)), key=len)]


def test_every_option_that_a_message_names_exists_in_its_command() -> None:
    wrong, seen = [], 0
    for path in sorted(SOURCE.rglob("*.py")):
        module = path.relative_to(SOURCE).as_posix()
        if module in NO_SENTENCES or module == "errors.py":  # whose advice is by command, see below
            continue
        for line, text in sentences(path):
            for match in OPTION.finditer(text):
                if match[0] in ELSEWHERE:
                    continue
                seen += 1
                told = [verb for verb in re.findall(r"\blimner ([a-z]+)", text[: match.start()]) if verb in SETTINGS]
                verbs_of = tuple(told[-1:]) or commands_of(module)
                has = [match[1] in options(verb) for verb in verbs_of]
                if not (has and (any(has) if module in ANY_OF_THEM or told else all(has))):
                    wrong.append(f"{module}:{line}: {match[0]} is no option of {verbs_of}: {text!r}")
    assert not wrong, "\n".join(wrong)
    assert seen > 100  # or nothing was looked at
    assert verbs.SETTINGS is SETTINGS


def test_advice_on_memory_names_options_of_the_command() -> None:
    for verb, text in MEMORY_ADVICE.items():
        for match in OPTION.finditer(text):
            told = re.findall(r"limner ([a-z]+)", text[: match.start()])
            assert match[1] in options((told or [verb])[-1]), (verb, match[0])


def test_a_missing_setting_is_named_as_it_is_given() -> None:
    with pytest.raises(UserError, match=re.escape('positive is missing; give --set slider.positive="a smiling cat"')):
        SliderConfig.read({}, "the command line: [slider]", "slider")
    with pytest.raises(UserError, match=re.escape("mask_x is missing; give --mask-x")):
        type("Own", (Settings,), {"__annotations__": {"mask_x": int}}).read({}, "the command line")


def test_a_slider_without_its_property_is_refused_before_anything_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--method", "slider", "--keyword", "sl", "--base", "pocket"]) == 2
    said = capsys.readouterr().err
    assert '--set slider.positive="a smiling cat"' in said
    with pytest.raises(UserError, match='fill in "positive" under More'):
        TrainRequest.read({"method": "slider", "name": "sl"}, "train")
    with pytest.raises(UserError, match="learning_rate"):
        TrainRequest.read({"keyword": "zqvx", "dataset": 1, "more": {"learning_rate": -1}}, "train")
    with pytest.raises(UserError, match="did you mean 'learning_rate'"):
        TrainRequest.read({"keyword": "zqvx", "dataset": 1, "more": {"learnin_rate": 1e-4}}, "train")
    told = TrainRequest.read({"method": "slider", "name": "sl", "more": {"slider": {"positive": "a smile"}}}, "train")
    assert told.more["slider"]["positive"] == "a smile"


def test_the_page_is_told_in_its_own_words() -> None:
    sentence = 'x is missing; give --set slider.positive="a smiling cat" (see --help), or --batch-size'
    assert in_words_of_forms(sentence) == (
        'x is missing; give "positive", such as "a smiling cat", under More, or "batch size"'
    )


# --- out of memory ---


def allocator_error() -> RuntimeError:
    """What torch raises on this machine for more memory than any has."""
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 50, dtype=torch.uint8)
    return raised.value


@pytest.mark.parametrize(
    "error",
    [
        allocator_error(),
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.10 GB, other allocations: 1.30 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_memory_that_ran_out_is_no_bug(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert str(advice(error, "generate")).startswith("there is not enough memory; lower --batch-size, lower --width")
    assert "--gradient-checkpointing" in memory_advice("train", "lora")
    for name in ("full", "dreambooth"):
        assert "--optimizer adafactor" in memory_advice("dryrun", name)


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), UserError("out of memory"), OSError(2, "No")])
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_a_training_without_memory_says_what_helps_and_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from limner import run
    from limner.events import Saved, Started

    def training(*_: object) -> Iterator[object]:
        yield Started(tmp_path / "runs" / "x", 100)
        yield Saved(50, tmp_path / "state.pt")
        raise allocator_error()

    monkeypatch.setattr(run, "train", training)
    monkeypatch.setattr(run, "resume", training)
    assert main(["train", str(tmp_path), "--keyword", "zqvx"]) == 2
    said = capsys.readouterr().err
    assert "--batch-size or --resolution" in said
    assert "the state after step 50 is kept" in said
    assert f"limner resume {tmp_path / 'runs' / 'x'}" in said
    assert "bug" not in said
    assert main(["dreambooth", str(tmp_path), "--keyword", "zqvx", "--class", "dog"]) == 2
    assert "--optimizer adafactor" in capsys.readouterr().err
    assert main(["resume", str(tmp_path)]) == 2
    assert "limner train --config" in capsys.readouterr().err


def test_a_file_for_which_memory_does_not_suffice_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    from limner.container import open_tensors

    save_file({"a": torch.zeros(4)}, tmp_path / "a.safetensors")

    def fails(*_: object) -> None:
        raise allocator_error()

    monkeypatch.setattr(TensorFile, "_fill", fails)
    with open_tensors(tmp_path / "a.safetensors") as file, pytest.raises(RuntimeError) as raised:
        file.get("a")
    assert is_out_of_memory(raised.value)
    assert "adamw" in TrainSettings.model_fields["optimizer"].default
