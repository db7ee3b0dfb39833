"""Masks of prepared pictures: where they are found, what wins, and models that make them."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import limner
from limner.checking.verdict import ALL_KINDS
from limner.data.colour import to_srgb
from limner.data.dataset import load
from limner.data.decode import Unusable, decode
from limner.data.layout import find_dataset
from limner.data.source import Source, find_sources
from limner.errors import UserError
from limner.preparation.framing import Framing
from limner.preparation.masks import Found, Masks
from limner.preparation.resample import resample_mask
from limner.preparation.segment import Segmenter

SIZE = (64, 48)


def picture(path: Path, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(SIZE, 50).convert(mode).save(path)
    return path


def half(path: Path, size: tuple[int, int] = SIZE) -> None:
    """A mask whose left half is white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.zeros(size[::-1], np.uint8)
    levels[:, : size[0] // 2] = 255
    Image.fromarray(levels).save(path)


def find(masks: Masks, source: Source) -> Found | None:
    return masks.find(source, decode(source.read()))


@pytest.mark.parametrize("name", ["a.mask.png", "a-masklabel.png", "masks/a.png", "masks/a.jpg", "masks/a.mask.webp"])
def test_a_mask_beside_its_picture(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "sub" / "a.jpg")
    half(tmp_path / "sub" / name)
    found = find(Masks(), Source(tmp_path, "sub/a.jpg"))
    assert found is not None
    assert found.origin == f"sub/{name}"
    assert np.asarray(found.image)[:, :28].min() > 200
    assert np.asarray(found.image)[:, 36:].max() < 50
    assert find(Masks(files=False), Source(tmp_path, "sub/a.jpg")) is None


def test_a_picture_is_not_its_own_mask(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):  # another picture of that stem
        picture(tmp_path / name)
    assert find(Masks(), Source(tmp_path, "a.jpg")) is None


def test_a_mask_in_a_zip(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    half(tmp_path / "masks" / "a.png")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("a.jpg", "masks/a.png"):
            archive.write(tmp_path / name, name)
    found = find(Masks(), Source(tmp_path / "all.zip", "a.jpg", archive=True))
    assert found is not None
    assert found.origin == "masks/a.png"


def test_a_folder_of_masks_elsewhere(tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "sub" / "a.jpg")
    half(tmp_path / "masks" / "sub" / "a.png")
    masks = Masks(folder=tmp_path / "masks")
    masks.check(tmp_path / "photos")
    (source,) = find_sources(tmp_path / "photos")
    found = find(masks, source)
    assert found is not None
    assert np.asarray(found.image).mean() == 127.5
    with pytest.raises(UserError, match="nowhere"):
        Masks(folder=tmp_path / "nowhere").check(tmp_path)


def test_transparency(tmp_path: Path) -> None:
    levels = np.full((*SIZE[::-1], 4), 200, np.uint8)
    levels[:, 32:, 3] = 0
    Image.fromarray(levels).save(tmp_path / "a.png")
    source = Source(tmp_path, "a.png")
    found = find(Masks(), source)
    assert found is not None
    assert found.origin == "its transparency"
    assert np.asarray(found.image).mean() == 100
    assert find(Masks(alpha=False), source) is None
    half(tmp_path / "a.mask.png")
    found = find(Masks(), source)
    assert found is not None
    assert found.origin == "a.mask.png"  # what a person made comes first


def test_masks_that_cannot_be_one(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    source = Source(tmp_path, "a.jpg")
    half(tmp_path / "a.mask.png", size=(60, 48))
    with pytest.raises(Unusable, match="60x48 pixels, but is 64x48"):
        find(Masks(), source)
    Image.new("L", SIZE).save(tmp_path / "a.mask.png")
    with pytest.raises(Unusable, match="all black"):
        find(Masks(), source)
    (tmp_path / "a.mask.png").write_bytes(b"nothing")
    with pytest.raises(Unusable, match=r"a\.mask\.png"):
        find(Masks(), source)


def test_a_mask_goes_the_way_of_its_picture(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    half(tmp_path / "a.mask.png")
    found = find(Masks(), Source(tmp_path, "a.jpg"))
    assert found is not None
    view = resample_mask(found.image, Framing((16, 0, 64, 48), 24, 24, 0, 0, 0.5, ""))
    assert np.asarray(view)[:, :8].min() == 255
    assert np.asarray(view)[:, 8:].max() == 0


class TestOnnx:
    """A network of one convolution: bright pixels are the subject."""

    def make(self, path: Path, side: int | str = 32, logits: bool = False, maps: int = 1) -> Path:
        from onnx import TensorProto, helper, numpy_helper, save

        weights = np.full((maps, 3, 1, 1), 4, np.float32)
        nodes = [helper.make_node("Conv", ["image", "weights"], ["found"])]
        if not logits:
            nodes.append(helper.make_node("Sigmoid", ["found"], ["shares"]))
        outcome = "found" if logits else "shares"
        graph = helper.make_graph(
            nodes,
            "bright",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, side])],
            [helper.make_tensor_value_info(outcome, TensorProto.FLOAT, [1, maps, side, side])],
            [numpy_helper.from_array(weights, "weights")],
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path

    @pytest.fixture
    def bright(self) -> Image.Image:
        image = Image.new("RGB", (200, 100), "black")
        image.paste("white", (50, 0, 150, 100))
        return image

    @pytest.mark.parametrize("logits", [False, True])
    @pytest.mark.parametrize("side", [32, "any"])
    def test_the_subject_is_found(self, tmp_path: Path, bright: Image.Image, logits: bool, side: int | str) -> None:
        model = Segmenter(str(self.make(tmp_path / "net.onnx", side, logits)))
        mask = model(bright)
        assert mask is not None
        assert (mask.mode, mask.size) == ("L", (200, 100))
        assert np.asarray(mask)[:, 60:140].min() > 250
        assert np.asarray(mask)[:, :40].max() < 5
        assert model(Image.new("RGB", (200, 100))) is None

    def test_after_files_and_transparency(self, tmp_path: Path, bright: Image.Image) -> None:
        bright.save(tmp_path / "a.png")
        source, masks = Source(tmp_path, "a.png"), Masks(model=Segmenter(str(self.make(tmp_path / "net.onnx"))))
        masks.check(tmp_path / "photos")
        found = find(masks, source)
        assert found is not None
        assert found.origin == "the segmentation model"
        half(tmp_path / "a.mask.png", (200, 100))
        found = find(masks, source)
        assert found is not None
        assert found.origin == "a.mask.png"

    def test_what_the_picture_is_normalised_by(self, tmp_path: Path) -> None:
        """Grey of 0.6 is above ImageNet's mean, below the mean of 0.9 that the file beside the network names."""
        grey = Image.new("RGB", (64, 64), (153, 153, 153))
        assert Segmenter(str(self.make(tmp_path / "a" / "net.onnx")))(grey) is not None
        network = self.make(tmp_path / "b" / "onnx" / "model.onnx")
        (tmp_path / "b" / "preprocessor_config.json").write_text('{"image_mean": [0.9, 0.9, 0.9]}')
        assert Segmenter(str(tmp_path / "b"))(grey) is None
        (tmp_path / "b" / "preprocessor_config.json").write_text('{"image_std": [0, 0, 0]}')
        with pytest.raises(UserError, match="image_std"):
            Segmenter(str(network)).check()

    def test_the_data_set_has_them(self, tmp_path: Path, bright: Image.Image) -> None:
        """Through `limner prepare`: the masks lie where training finds them, in their pictures' sizes."""
        speckled = np.asarray(bright) // 2 + np.random.default_rng(0).integers(0, 120, (100, 200, 3), dtype=np.uint8)
        (tmp_path / "photos").mkdir()
        Image.fromarray(speckled).save(tmp_path / "photos" / "a.png")
        made = limner.prepare(
            tmp_path / "photos",
            tmp_path / "out",
            resolution=64,
            workers=1,
            keep=tuple(ALL_KINDS),
            mask_model=str(self.make(tmp_path / "net.onnx")),
        )
        assert (made.kept, made.masks) == (1, 1)
        [loaded] = load(find_dataset(tmp_path / "out"))
        (found,) = loaded.pictures
        assert found.mask is not None
        mask, image = np.asarray(found.mask.open()), np.asarray(found.open()).mean(axis=2)
        assert mask.shape == image.shape
        assert image[mask > 200].mean() > 2 * image[mask < 50].mean()
        with pytest.raises(UserError, match="no model 'nobody/nothing'"):
            limner.prepare(tmp_path / "photos", tmp_path / "other", mask_model="nobody/nothing")
        assert not (tmp_path / "other" / "images").exists()

    def test_what_is_no_such_network(self, tmp_path: Path, bright: Image.Image) -> None:
        with pytest.raises(UserError, match="not one map"):
            Segmenter(str(self.make(tmp_path / "many.onnx", maps=5)))(bright)
        (tmp_path / "bad.onnx").write_bytes(b"nothing")
        with pytest.raises(UserError, match=r"bad\.onnx"):
            Segmenter(str(tmp_path / "bad.onnx")).check()
        (tmp_path / "empty").mkdir()
        with pytest.raises(UserError, match="no segmentation model in"):
            Segmenter(str(tmp_path / "empty")).check()
        for name in ("nobody/nothing", "no such thing"):
            with pytest.raises(UserError, match=f"no model '{name}'"):
                Segmenter(name).check()


class TestTransformers:
    """Tiny random networks whose last layer is set, so that it is known what they say."""

    @pytest.fixture
    def segformer(self, tmp_path: Path) -> Path:
        import torch
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        sizes = {"hidden_sizes": [8, 8], "decoder_hidden_size": 8, "num_attention_heads": [1, 1], "depths": [1, 1]}
        names = {0: "wall", 1: "dog, hound", 2: "cat"}
        config = SegformerConfig(
            num_encoder_blocks=2, sr_ratios=[4, 2], patch_sizes=[7, 3], strides=[4, 2], mlp_ratios=[2, 2], **sizes
        )
        config.id2label, config.label2id = names, {name: number for number, name in names.items()}
        model = SegformerForSemanticSegmentation(config)
        with torch.no_grad():
            model.decode_head.classifier.weight.zero_()
            model.decode_head.classifier.bias.copy_(torch.tensor([0.0, 9.0, 0.0]))
        model.save_pretrained(tmp_path / "segformer")
        return tmp_path / "segformer"

    def test_the_label_s_share(self, segformer: Path) -> None:
        image = Image.new("RGB", (90, 70), "red")
        for label in ("dog", "Hound"):
            mask = Segmenter(str(segformer), label)(image)
            assert mask is not None
            assert mask.size == (90, 70)
            assert np.asarray(mask).min() >= 254
        assert Segmenter(str(segformer), "cat")(image) is None

    def test_labels_that_it_does_not_know(self, segformer: Path) -> None:
        with pytest.raises(UserError, match="did you mean 'dog'"):
            Segmenter(str(segformer), "dogg").check()
        with pytest.raises(UserError, match="one of wall, dog, cat"):
            Segmenter(str(segformer)).check()

    def test_a_package_that_is_missing_is_named(self, segformer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(*_: object, **__: object) -> None:
            raise ImportError("\nMask2FormerLoss requires the scipy library but it was not found. Install it.")

        monkeypatch.setattr("transformers.AutoModelForSemanticSegmentation.from_pretrained", missing)
        with pytest.raises(UserError, match="requires the scipy library"):
            Segmenter(str(segformer), "dog").check()

    def test_masks_of_queries(self, tmp_path: Path) -> None:
        import torch
        from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

        backbone = SwinConfig(
            embed_dim=8, window_size=2, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1],
            out_features=["stage1", "stage2", "stage3", "stage4"],
        )  # fmt: skip
        config = Mask2FormerConfig(
            backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=8,
            encoder_layers=1, decoder_layers=2, num_attention_heads=1, dim_feedforward=8, num_queries=3, num_labels=2,
        )  # fmt: skip
        config.id2label = {0: "dog", 1: "sky"}
        torch.manual_seed(0)
        model = Mask2FormerForUniversalSegmentation(config).eval()
        with torch.no_grad():
            model.class_predictor.weight.zero_()
            model.class_predictor.bias.copy_(torch.tensor([0.0, 20.0, 0.0]))
        model.save_pretrained(tmp_path / "m2f")
        (tmp_path / "m2f" / "preprocessor_config.json").write_text('{"size": {"height": 64, "width": 64}}')
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        image = Image.fromarray(noise)
        found = Segmenter(str(tmp_path / "m2f"), "sky")(image)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        pixels = ((torch.from_numpy(noise) / 255 - mean) / std).permute(2, 0, 1)[None]
        with torch.no_grad():
            queries = model(pixels).masks_queries_logits[0].sigmoid().sum(0).clamp(0, 1)
        assert found is not None
        assert np.asarray(found).mean() / 255 == pytest.approx(float(queries.mean()), abs=0.02)
        assert Segmenter(str(tmp_path / "m2f"), "dog")(image) is None

    def test_clipseg_takes_words(self, tmp_path: Path) -> None:
        import torch
        from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPTokenizerFast

        from limner.base import pocket

        tokenizer = CLIPTokenizerFast.from_pretrained(pocket.FOLDER / "tokenizer", local_files_only=True)
        small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
        text = small | {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
        vision = small | {"image_size": 32, "patch_size": 8}
        config = CLIPSegConfig(
            text_config=text, vision_config=vision, projection_dim=16, extract_layers=[0, 1], reduce_dim=16,
            decoder_num_attention_heads=2, decoder_intermediate_size=16,
        )  # fmt: skip
        torch.manual_seed(0)
        model = CLIPSegForImageSegmentation(config).eval()
        with torch.no_grad():
            model.decoder.transposed_convolution.weight.zero_()
            model.decoder.transposed_convolution.bias.fill_(3.0)
        model.save_pretrained(tmp_path / "clipseg")
        with pytest.raises(UserError, match="vocabulary"):
            Segmenter(str(tmp_path / "clipseg"), "a dog").check()
        tokenizer.save_pretrained(tmp_path / "clipseg")
        mask = Segmenter(str(tmp_path / "clipseg"), "a dog")(to_srgb(Image.new("RGB", (50, 40), "blue")))
        assert mask is not None
        assert np.asarray(mask).mean() == pytest.approx(255 / (1 + np.exp(-3.0)), abs=1)
        with pytest.raises(UserError, match="--mask-label"):
            Segmenter(str(tmp_path / "clipseg")).check()

    def test_other_models_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"architectures": ["BertModel"], "model_type": "bert"}')
        with pytest.raises(UserError, match="BertModel"):
            Segmenter(str(tmp_path), "dog").check()
        (tmp_path / "config.json").write_text("[]")
        with pytest.raises(UserError, match=r"config\.json"):
            Segmenter(str(tmp_path), "dog").check()


def test_one_mask_of_two_pictures_and_masks_of_none(tmp_path: Path) -> None:
    for name in ("one/cat.jpg", "two/dog.jpg"):
        picture(tmp_path / "photos" / name)
    half(tmp_path / "masks" / "CAT.PNG")
    half(tmp_path / "masks" / "nobody.png")
    half(tmp_path / "masks" / "two" / "dog.png")
    masks = Masks(folder=tmp_path / "masks")
    masks.check(tmp_path / "photos")
    cat, dog = find_sources(tmp_path / "photos")
    assert [place.name for place in masks.places(cat)] == ["CAT.PNG"]
    assert [place.name for place in masks.places(dog)] == ["two/dog.png"]
    (said,) = masks.unused(tmp_path / "photos")
    assert "1 of 3 masks is not used (nobody.png): no image has that name" in said
    picture(tmp_path / "photos" / "two" / "cat.jpg")
    with pytest.raises(UserError, match=r"CAT\.PNG could be the mask of one/cat\.jpg or two/cat\.jpg"):
        masks.check(tmp_path / "photos")
