"""Tensors read in another dtype and memory format are what torch makes of them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from limner.container import open_tensors
from limner.container.file import CHUNK
from limner.errors import UserError

TENSORS = {
    "kernels": torch.randn(40, 30, 3, 3).half(),
    "small": (torch.randn(2 * CHUNK + 1) * 1e-6).half(),  # subnormals, and more than is converted at once
    "scalar": torch.randn(()).bfloat16(),
    "none": torch.zeros(0),
    "large": (torch.randn(400, 80) * 1e30).bfloat16(),  # beyond float16
    "wide": torch.randn(8, 4, 1, 1, dtype=torch.float64),
}


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_as_torch_converts(
    tmp_path: Path, dtype: torch.dtype, memory_format: torch.memory_format, pickled: bool
) -> None:
    path = tmp_path / "file"
    if pickled:
        torch.save(TENSORS | {"turned": torch.randn(6, 9).T}, path)
    else:
        save_file(TENSORS, path)
    with open_tensors(path) as file:
        found = {name: file.get_as(name, dtype, memory_format) for name in file.shapes}
    for name, tensor in TENSORS.items():
        assert found[name].dtype == dtype
        assert torch.equal(found[name], tensor.to(dtype)), name  # each has memory of its own: none was written over
        if tensor.dim() == 4:
            assert found[name].is_contiguous(memory_format=memory_format)


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_file(TENSORS, path)
    with open_tensors(path) as file:
        last = max(file.shapes, key=lambda name: file.places[name].start)
        path.write_bytes(path.read_bytes()[:5000])
        with pytest.raises(UserError, match=r"cannot read .* of .*file\.safetensors"):
            file.get_as(last, torch.bfloat16)
