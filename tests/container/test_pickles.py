"""Pickles: every layout that torch has written is read as torch reads it, and none is ever run."""

from pathlib import Path

import pytest
import torch

from limner.container import open_tensors
from limner.container.header import raw_bytes

DTYPES = [
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.complex64, torch.uint16, torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_dtype_and_view_is_read_as_torch_reads_it(tmp_path: Path, zipped: bool, protocol: int) -> None:
    numbers = torch.arange(24).reshape(2, 3, 4)
    tensors = {str(dtype): numbers.to(dtype) for dtype in DTYPES}
    tensors |= {
        "part": numbers.float()[1],
        "turned": numbers.float().permute(2, 0, 1),
        "every other": numbers.half()[:, ::2],
        "empty": torch.zeros(0, 4),
        "scalar": torch.tensor(7.5),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    path = tmp_path / "x.ckpt"
    torch.save(
        {"state_dict": tensors, "global_step": 9, "epoch": 1, "optimizer_states": [{"state": {0: torch.ones(2)}}]},
        path,
        _use_new_zipfile_serialization=zipped,
        pickle_protocol=protocol,
    )
    with open_tensors(path) as file:
        assert file.extras["global_step"] == 9
        assert file.shapes == {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        assert file.dtypes == {name: tensor.dtype for name, tensor in tensors.items()}
        for name, tensor in tensors.items():
            found = file.get(name)
            assert found.is_contiguous()
            assert raw_bytes(found) == raw_bytes(tensor.detach().contiguous())
