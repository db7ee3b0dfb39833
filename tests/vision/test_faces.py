"""Faces: of a photograph, of a model whose answer is known, and none where there are none."""

import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from photos import photo

from limner.checking.examine import examine
from limner.checking.findings import Wanted
from limner.checking.measure import Measure
from limner.checking.store import Store
from limner.cli import main
from limner.data.source import find_sources
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


def test_facts_on_disk_are_those_of_the_model_that_is_asked_for(tmp_path: Path) -> None:
    model_of_one_face(tmp_path / "yunet.onnx", column=10, row=5, size=128)
    (tmp_path / "photos").mkdir()
    photo(640, 640).save(tmp_path / "photos" / "a.png")
    found = []
    for model in (None, tmp_path / "yunet.onnx", tmp_path / "yunet.onnx"):
        with Store(tmp_path / "facts", Measure(features=False, faces=Faces(model))) as store:
            before = len(store)
            (facts,) = examine(find_sources(tmp_path / "photos"), Wanted(), 1, store)
            found.append((len(facts.faces), len(store) - before))
    assert found == [(0, 1), (1, 1), (1, 0)]


def test_check_takes_a_model_of_faces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_of_one_face(tmp_path / "yunet.onnx", column=10, row=5, size=128)
    (tmp_path / "photos").mkdir()
    photo(640, 640).save(tmp_path / "photos" / "a.png")
    asked = ["check", str(tmp_path / "photos"), "--subject", "person", "--cache", str(tmp_path / "cache"), "--json"]
    for options, said in (([], True), (["--face-model", str(tmp_path / "yunet.onnx")], False)):
        assert main([*asked, *options]) == 0
        answer = capsys.readouterr().out
        assert ('"no_face"' in answer) == said
    assert main([*asked, "--face-model", str(tmp_path / "photos" / "a.png")]) != 0
    assert "YuNet" in capsys.readouterr().err


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
