"""Faces: of a photograph, of a model whose answer is known, and none where there are none."""

import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from photos import photo

from limner.errors import UserError
from limner.vision.faces import Faces

SIDE, STRIDE = 640, 32


def model_of_one_face(path: Path, column: int, row: int, size: int) -> None:
    """A network with YuNet's outputs, which sees one face, its middle at a cell of STRIDE pixels, in every picture."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["mean"]),
        helper.make_node("ReduceMean", ["mean"], ["one"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["one", "nought"], ["zero"]),
    ]
    values, outputs = [numpy_helper.from_array(np.zeros(1, np.float32), "nought")], []
    for stride in (8, 16, 32):
        cells = (SIDE // stride) ** 2
        for name, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            value = np.zeros((1, cells, width), np.float32)
            if stride == STRIDE and width == 1:
                value[0, row * (SIDE // STRIDE) + column] = 1
            if name == "bbox":
                value[..., 2:] = np.log(size / STRIDE)
            values.append(numpy_helper.from_array(value, f"{name}_{stride}_value"))
            nodes.append(helper.make_node("Add", ["zero", f"{name}_{stride}_value"], [f"{name}_{stride}"]))
            outputs.append(helper.make_tensor_value_info(f"{name}_{stride}", TensorProto.FLOAT, value.shape))
    entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 3, SIDE, SIDE))
    graph = helper.make_graph(nodes, "yunet", [entry], outputs, values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)]), str(path))


def test_a_models_faces_are_shares_of_the_picture(tmp_path: Path) -> None:
    model_of_one_face(tmp_path / "yunet.onnx", column=10, row=5, size=128)
    faces = pickle.loads(pickle.dumps(Faces(tmp_path / "yunet.onnx")))
    (face,) = faces(np.asarray(photo(1280, 1280)))
    assert (face.left, face.right) == pytest.approx((256 / 640, 384 / 640))
    assert (face.top, face.bottom) == pytest.approx((96 / 640, 224 / 640))


@pytest.mark.parametrize("data", [None, b"", b"no model"])
def test_what_is_no_model(tmp_path: Path, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / "a.onnx").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.onnx .*YuNet"):
        Faces(tmp_path / "a.onnx")(np.asarray(photo(100, 100)))


def test_the_cascades_find_a_face_at_every_size_and_mirrored() -> None:
    pictures = pytest.importorskip("skimage.data", reason="its photographs come with the group `recipe`")
    astronaut = pictures.astronaut()
    for picture in (astronaut, np.repeat(np.repeat(astronaut, 3, 0), 3, 1)):
        (face,) = Faces()(picture)
        assert (face.left, face.top) == pytest.approx((0.34, 0.13), abs=0.03)
        assert (face.right, face.bottom) == pytest.approx((0.53, 0.32), abs=0.03)
    (face,) = Faces()(np.ascontiguousarray(astronaut[:, ::-1]))
    assert (face.left, face.right) == pytest.approx((0.47, 0.66), abs=0.03)
    portrait = astronaut[:, 90:400]
    assert len(Faces()(np.concatenate([portrait, portrait[:, ::-1]], axis=1))) == 2
    assert Faces()(pictures.chelsea()) == ()  # a cat


@pytest.mark.parametrize("seed", range(4))
def test_there_are_none_in_shapes(seed: int) -> None:
    assert Faces()(np.asarray(photo(500, 400, seed))) == ()
