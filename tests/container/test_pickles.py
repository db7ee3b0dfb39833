"""Pickles: every layout that torch has written is read as torch reads it, with what other programs left in them."""

import collections
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from limner.container import open_tensors
from limner.container.header import raw_bytes, read_tensors
from limner.errors import UserError

DTYPES = [
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.complex64,
]  # fmt: skip
NEW_DTYPES = [torch.uint16, torch.float8_e4m3fn, torch.float8_e5m2]  # which torch cannot read back from legacy files
zipped_or_not = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def saved(path: Path, contents: Any, zipped: bool = True, protocol: int = 2) -> Path:
    torch.save(contents, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return path


@zipped_or_not
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_dtype_and_view_is_read_as_torch_reads_it(tmp_path: Path, zipped: bool, protocol: int) -> None:
    numbers = torch.arange(24).reshape(2, 3, 4)
    tensors = {str(dtype): numbers.to(dtype) for dtype in DTYPES + (NEW_DTYPES if zipped else [])}
    tensors |= {
        "part": numbers.float()[1],
        "turned": numbers.float().permute(2, 0, 1),
        "every other": numbers.half()[:, ::2],
        "repeated": torch.tensor([1.5]).expand(3, 5),
        "empty": torch.zeros(0, 4),
        "scalar": torch.tensor(7.5),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    path = saved(tmp_path / "x.ckpt", {"state_dict": tensors, "global_step": 9}, zipped, protocol)
    theirs = torch.load(path, weights_only=False)["state_dict"]
    with open_tensors(path) as file:
        assert file.extras == {"global_step": 9}
        assert file.shapes == {name: tuple(tensor.shape) for name, tensor in theirs.items()}
        assert file.dtypes == {name: tensor.dtype for name, tensor in theirs.items()}
        for name, tensor in theirs.items():
            found = file.get(name)
            assert found.is_contiguous()
            assert raw_bytes(found) == raw_bytes(tensor.detach().contiguous())


@zipped_or_not
def test_only_the_tensor_that_is_asked_for_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    path = saved(tmp_path / "x.pt", {"large": torch.zeros(1_000_000), "small": torch.ones(3)}, zipped)
    with open_tensors(path) as file:
        counted = 0
        plain = type(file)._fill

        def fill(self: Any, buffer: memoryview, place: Any) -> None:
            nonlocal counted
            counted += len(buffer)
            plain(self, buffer, place)

        monkeypatch.setattr(type(file), "_fill", fill)
        assert torch.equal(file.get("small"), torch.ones(3))
        assert counted == 12


def test_what_is_read_is_its_own_memory(tmp_path: Path) -> None:
    """Tensors outlive the file, and changing one changes neither the file nor its twin."""
    shared = torch.ones(4)
    path = saved(tmp_path / "x.pt", {"a": shared, "b": shared})
    before = path.read_bytes()
    with open_tensors(path) as file:
        a, b = file.get("a"), file.get("b")
    path.unlink()
    a += 1
    assert b.tolist() == [1.0] * 4
    assert path.write_bytes(before)
    assert read_tensors(path)["a"].tolist() == [1.0] * 4


@zipped_or_not
def test_names_are_those_of_the_state_dict_or_joined(tmp_path: Path, zipped: bool) -> None:
    state = collections.OrderedDict({"a.weight": torch.ones(2)})
    state._metadata = collections.OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    lightning = {
        "state_dict": state,
        "epoch": 3,
        "pytorch-lightning_version": "1.4.2",
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-4}]}],
        "lr_schedulers": [{"base_lrs": [1e-4]}],
    }
    with open_tensors(saved(tmp_path / "x.ckpt", lightning, zipped)) as file:
        assert file.shapes == {"a.weight": (2,)}
        assert file.extras["epoch"] == 3
        assert file.extras["pytorch-lightning_version"] == "1.4.2"
    webui = {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.ones(2, 8)}, "name": "fox", "step": 9}
    with open_tensors(saved(tmp_path / "x.pt", webui, zipped)) as file:
        assert file.shapes == {"string_to_param.*": (2, 8)}
        assert file.extras == {"string_to_token": {"*": 265}, "name": "fox", "step": 9}


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> type:
    """A class that pickles as Lightning's ModelCheckpoint does, of a module as of that version."""
    name = request.param
    module = types.ModuleType(name)
    cls = type("ModelCheckpoint", (), {"__module__": name})
    module.ModelCheckpoint = cls  # type: ignore[attr-defined]
    parts = name.split(".")
    for at in range(1, len(parts)):
        monkeypatch.setitem(sys.modules, ".".join(parts[:at]), types.ModuleType(".".join(parts[:at])))
    monkeypatch.setitem(sys.modules, name, module)
    return cls


@zipped_or_not
@pytest.mark.parametrize(
    "lightning",
    [
        "pytorch_lightning.callbacks.model_checkpoint",
        "pytorch_lightning.callbacks",
        "lightning.pytorch.callbacks.model_checkpoint",
        "lightning.callbacks.model_checkpoint",
    ],
    indirect=True,
)
def test_lightnings_callbacks_are_passed_over(
    tmp_path: Path, lightning: type, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    callback = lightning()
    callback.best_model_score, callback.dirpath = torch.tensor(0.5), "logs"  # type: ignore[attr-defined]
    contents = {
        "state_dict": {"a": torch.ones(2)},
        "callbacks": {lightning: {"best_model_score": torch.tensor(0.5), "worst": np.float64(2.5)}, "object": callback},
        "global_step": np.int64(470000),
        "loss": np.float32(0.25),
    }
    path = saved(tmp_path / "x.ckpt", contents, zipped)
    for name in [name for name in sys.modules if name.startswith(("pytorch_lightning", "lightning"))]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(Exception, match="ModelCheckpoint"):
        torch.load(path, weights_only=True)
    with open_tensors(path) as file:
        assert file.shapes == {"a": (2,)}
        assert file.extras == {"global_step": 470000, "loss": 0.25}


def test_tensors_of_other_devices_come_as_arrays_of_numpy(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)

    class Device:  # how torch saves what is on a device that has no storage of its own
        def __reduce__(self) -> tuple:
            return torch._utils._rebuild_device_tensor_from_numpy, (array, torch.float32, "mps:0", False)

    for protocol in (2, 4):
        path = saved(tmp_path / "x.pt", {"*": Device()}, protocol=protocol)
        assert torch.equal(read_tensors(path)["*"], torch.from_numpy(array))


def test_what_has_no_named_tensors_is_told(tmp_path: Path) -> None:
    for contents in ([torch.ones(2)], torch.ones(2), {"a": 1}, {"state_dict": {}}, 5):
        with pytest.raises(UserError, match="no tensors by name"), open_tensors(saved(tmp_path / "x.pt", contents)):
            pass
