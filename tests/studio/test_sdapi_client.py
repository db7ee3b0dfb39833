"""The client of the webui's API on PyPI, as it is: every call that its documentation shows and Limner has."""

import asyncio
import base64
import io
import threading
import time
from collections.abc import Iterator

import pytest
import webuiapi
from PIL import Image, ImageDraw
from studio.served import BASE, Served, wait

from limner.infotext import parse_infotext
from limner.samplers import SAMPLERS

TITLE = "tiny.safetensors"
SMALL = {"steps": 2, "width": 64, "height": 64, "cfg_scale": 3}


@pytest.fixture(scope="module")
def api(studio: Served) -> Iterator[webuiapi.WebUIApi]:
    port = int(studio.address.rpartition(":")[2])
    client = webuiapi.WebUIApi(host="127.0.0.1", port=port, sampler="Euler a", steps=2)
    wait(lambda: any(row["model_name"] == "tiny" for row in client.get_sd_models()))
    yield client
    client.session.close()


@pytest.fixture(scope="module")
def squirrel(api: webuiapi.WebUIApi) -> webuiapi.WebUIApiResult:
    return api.txt2img(
        prompt="cute squirrel", negative_prompt="ugly, out of frame", seed=1003, styles=["anime"], **SMALL
    )


def test_txt2img(squirrel: webuiapi.WebUIApiResult, studio: Served) -> None:
    assert len(squirrel.images) == 1
    assert squirrel.image.size == (64, 64)
    assert squirrel.image.format == "PNG"
    said = parse_infotext(squirrel.image.info["parameters"])
    assert (said.prompt, said.settings["Seed"], said.settings["Sampler"]) == ("cute squirrel", "1003", "Euler a")
    info = squirrel.info
    assert (info["seed"], info["all_seeds"], info["steps"], info["sampler_name"]) == (1003, [1003], 2, "Euler a")
    assert (info["width"], info["height"], info["negative_prompt"]) == (64, 64, "ugly, out of frame")
    assert info["infotexts"] == [squirrel.image.info["parameters"]]
    assert (info["sd_model_name"], info["sd_model_hash"]) == ("tiny", said.settings["Model hash"])
    assert squirrel.parameters["prompt"] == "cute squirrel"
    assert studio.get("/api/jobs") == []  # nobody sees it
    assert not list((studio.folder / "jobs").glob("*"))
    assert studio.get("/api/pictures")["pictures"] == []


def test_the_same_seed_is_the_same_picture_and_a_batch_counts_up(
    api: webuiapi.WebUIApi, squirrel: webuiapi.WebUIApiResult
) -> None:
    two = api.txt2img(
        prompt="cute squirrel", negative_prompt="ugly, out of frame", seed=1003, n_iter=2, batch_size=1, **SMALL
    )
    assert two.info["all_seeds"] == [1003, 1004]
    assert two.images[0].tobytes() == squirrel.image.tobytes() != two.images[1].tobytes()


def test_img2img(api: webuiapi.WebUIApi, squirrel: webuiapi.WebUIApiResult) -> None:
    made = api.img2img(
        images=[squirrel.image], prompt="cute cat", seed=5555, denoising_strength=0.6, resize_mode=1, **SMALL
    )
    assert made.image.size == (64, 64)
    assert parse_infotext(made.image.info["parameters"]).settings["Denoising strength"] == "0.6"
    assert made.info["denoising_strength"] == 0.6
    assert made.parameters["init_images"] is None


def test_img2img_inpainting(api: webuiapi.WebUIApi, squirrel: webuiapi.WebUIApiResult) -> None:
    mask = Image.new("RGB", squirrel.image.size, color="black")
    ImageDraw.Draw(mask).rectangle((0, 0, 31, 63), fill="white")
    made = api.img2img(
        images=[squirrel.image],
        mask_image=mask,
        inpainting_fill=1,
        inpaint_full_res=False,
        mask_blur=0,
        prompt="cute cat",
        seed=104,
        denoising_strength=0.7,
        **SMALL,
    )
    kept, drawn = (32, 0, 64, 64), (0, 0, 32, 64)
    assert made.image.crop(kept).tobytes() == squirrel.image.crop(kept).tobytes()
    assert made.image.crop(drawn).tobytes() != squirrel.image.crop(drawn).tobytes()


def test_hires_fix(api: webuiapi.WebUIApi, studio: Served) -> None:
    hires = {"enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 1, "denoising_strength": 0.6}
    same = {"hr_sampler_name": "Euler a", "hr_checkpoint_name": TITLE, "hr_prompt": "cute cat"}
    upscaler = webuiapi.HiResUpscaler.LatentNearest
    made = api.txt2img(prompt="cute cat", seed=8, hr_upscaler=upscaler, save_images=True, **hires, **same, **SMALL)
    assert made.image.size == (96, 96)
    assert (made.info["width"], made.info["denoising_strength"]) == (64, 0.6)
    assert made.info["extra_generation_params"]["Hires upscaler"] == upscaler
    text = "Denoising strength: 0.6, RNG: CPU, Hires upscale: 1.5, Hires steps: 1, Hires upscaler: Latent (nearest)"
    assert text in made.info["infotexts"][0]
    (kept,) = studio.get("/api/pictures")["pictures"]
    assert kept["request"]["hires"]["scale"] == 1.5
    read = studio.client.post(
        "/api/png-info?name=x", content=studio.client.get(f"/api/pictures/{kept['id']}/file").content
    )
    assert read.json()["settings"]["hires"] == kept["request"]["hires"]
    assert read.json()["notes"] == []
    studio.client.delete(f"/api/pictures/{kept['id']}")
    sized = api.txt2img(prompt="a", enable_hr=True, hr_resize_x=128, hr_resize_y=64, hr_upscaler="Lanczos", **SMALL)
    assert sized.image.size == (128, 64)
    assert parse_infotext(sized.image.info["parameters"]).settings["Hires resize"] == "128x64"


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"hr_prompt": "a dog"}, "hr_prompt"),
        ({"hr_sampler_name": "DDIM"}, "hr_sampler_name"),
        ({"hr_checkpoint_name": "pocket"}, "hr_checkpoint_name"),
        ({"hr_upscaler": "R-ESRGAN 4x+"}, "no upscaler 'R-ESRGAN 4x+'"),
        ({"hr_scale": 100}, "hires.scale = 100.0 will not do"),
        ({"denoising_strength": 0}, "hires.strength = 0.0 will not do"),
    ],
)
def test_what_the_second_pass_cannot_do_is_said(api: webuiapi.WebUIApi, extra: dict, said: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        api.txt2img(**{"prompt": "a", "enable_hr": True} | SMALL | extra)
    assert caught.value.args[0] == 422
    assert said in caught.value.args[1]


def test_extra_single_image(api: webuiapi.WebUIApi, squirrel: webuiapi.WebUIApiResult, studio: Served) -> None:
    made = api.extra_single_image(image=squirrel.image, upscaler_1=webuiapi.Upscaler.Nearest, upscaling_resize=1.5)
    assert made.image.tobytes() == squirrel.image.resize((96, 96), Image.Resampling.NEAREST).tobytes()
    assert made.image.info["parameters"] == squirrel.image.info["parameters"]
    assert made.image.info["postprocessing"] == "Postprocess upscale by: 1.5, Postprocess upscaler: Nearest"
    assert made.info == f"<p>{made.image.info['postprocessing']}</p>"
    fitted = api.extra_single_image(
        image=squirrel.image, resize_mode=1, upscaling_resize_w=100, upscaling_resize_h=50, upscaler_1="Lanczos"
    )
    large = squirrel.image.resize((100, 100), Image.Resampling.LANCZOS)
    assert fitted.image.tobytes() == large.crop((0, 25, 100, 75)).tobytes()
    covered = api.extra_single_image(
        image=squirrel.image,
        resize_mode=1,
        upscaling_resize_w=128,
        upscaling_resize_h=64,
        upscaling_crop=False,
        upscaler_1="Lanczos",
    )
    assert covered.image.size == (128, 128)
    assert api.extra_single_image(image=squirrel.image).image.tobytes() == squirrel.image.tobytes()
    assert not list((studio.folder / "inputs").glob("*"))
    assert not list((studio.folder / "jobs").glob("*"))
    for wrong in ({"gfpgan_visibility": 0.5}, {"codeformer_visibility": 1}, {"upscaler_1": "LDSR"}):
        with pytest.raises(RuntimeError) as caught:
            api.extra_single_image(image=squirrel.image, **wrong)
        assert caught.value.args[0] == 422


def test_extra_batch_images(api: webuiapi.WebUIApi, squirrel: webuiapi.WebUIApiResult) -> None:
    red = Image.new("RGB", (40, 24), "red")
    made = api.extra_batch_images(
        images=[squirrel.image, red],
        name_list=["squirrel", "red"],
        upscaler_1="Lanczos",
        upscaler_2="Nearest",
        extras_upscaler_2_visibility=0.25,
    )
    assert [each.size for each in made.images] == [(128, 128), (80, 48)]
    ways = [squirrel.image.resize((128, 128), way) for way in (Image.Resampling.LANCZOS, Image.Resampling.NEAREST)]
    assert made.images[0].tobytes() == Image.blend(*ways, 0.25).tobytes()
    assert made.images[1].getcolors() == [(80 * 48, (255, 0, 0))]


def test_asynchronous_calls(api: webuiapi.WebUIApi) -> None:
    async def draw() -> webuiapi.WebUIApiResult:
        return await api.txt2img(prompt="cute kitten", seed=1001, use_async=True, **SMALL)

    assert asyncio.run(draw()).image.size == (64, 64)


def test_options_and_models(api: webuiapi.WebUIApi) -> None:
    assert api.get_options()["sd_model_checkpoint"] == TITLE
    assert [row["model_name"] for row in api.get_sd_models()] == ["tiny", "pocket"]
    assert api.set_options({"sd_model_checkpoint": "pocket"}) is None
    assert api.util_get_current_model() == "pocket"
    assert api.util_get_model_names() == sorted([TITLE, "pocket"])
    api.util_set_model(TITLE)
    assert api.util_get_current_model() == TITLE
    api.util_set_model("tinny")
    assert api.util_get_current_model() == TITLE
    assert api.refresh_checkpoints() is None


def test_lists(api: webuiapi.WebUIApi) -> None:
    assert (
        [row["name"] for row in api.get_samplers()]
        == list(SAMPLERS)
        == sorted(api.util_get_sampler_names(), key=list(SAMPLERS).index)
    )
    assert "karras" in [row["name"] for row in api.get_schedulers()]
    assert api.util_get_scheduler_names() == sorted(row["name"] for row in api.get_schedulers())
    assert api.get_embeddings() == {"loaded": {}, "skipped": {}}
    assert api.get_scripts() == {"txt2img": [], "img2img": []}
    assert api.get_cmd_flags()["api"] is True
    assert api.get_memory()["ram"]["total"] > 0
    for empty in (api.get_hypernetworks, api.get_face_restorers, api.get_realesrgan_models, api.get_prompt_styles):
        assert empty() == []
    assert api.get_loras() == api.get_sd_vae() == []
    plain = [webuiapi.Upscaler.none, webuiapi.Upscaler.Lanczos, webuiapi.Upscaler.Nearest]
    assert [row["name"] for row in api.get_upscalers()] == plain
    latent = [row["name"] for row in api.get_latent_upscale_modes()]
    assert latent == [each for each in webuiapi.HiResUpscaler if each.startswith("Latent")]


def test_png_info(api: webuiapi.WebUIApi, squirrel: webuiapi.WebUIApiResult) -> None:
    found = api.png_info(squirrel.image)
    assert found.info == squirrel.image.info["parameters"]
    assert found.parameters["Seed"] == "1003"
    assert api.png_info(Image.new("RGB", (32, 32))).info == ""


def test_progress_interrupt_and_skip(api: webuiapi.WebUIApi, studio: Served) -> None:
    assert api.interrupt() == {}
    assert api.skip() is None
    idle = api.get_progress()
    assert (idle["progress"], idle["state"]["job_count"], idle["current_image"]) == (0, 0, None)
    made: list[webuiapi.WebUIApiResult] = []

    def draw() -> None:
        made.append(api.txt2img(prompt="slow", seed=5, n_iter=3, steps=150, width=256, height=256))

    other = webuiapi.WebUIApi(host="127.0.0.1", port=int(studio.address.rpartition(":")[2]))
    drawing = threading.Thread(target=draw)
    drawing.start()
    wait(lambda: other.get_progress()["state"]["sampling_step"] > 0)
    at = other.get_progress()
    assert 0 < at["progress"] < 1
    assert (at["state"]["job_count"], at["state"]["sampling_steps"]) == (3, 150)
    wait(lambda: other.get_progress()["current_image"] is not None)
    preview = Image.open(io.BytesIO(base64.b64decode(other.get_progress()["current_image"])))
    assert preview.size == (128, 128)
    other.skip()
    wait(lambda: other.get_progress()["state"]["job_no"] == 1)
    other.interrupt()
    drawing.join(60)
    assert made[0].info["all_seeds"] == [5, 6]
    stopped = [int(parse_infotext(text).settings["Stopped at step"]) for text in made[0].info["infotexts"]]
    assert all(0 < step < 150 for step in stopped)
    other.util_wait_for_ready(check_interval=0.1)


def test_a_picture_that_is_to_be_kept_is_in_the_gallery(api: webuiapi.WebUIApi, studio: Served) -> None:
    api.txt2img(prompt="keep me", seed=9, save_images=True, **SMALL)
    (kept,) = studio.get("/api/pictures")["pictures"]
    assert kept["infotext"].startswith("keep me")
    studio.client.delete(f"/api/pictures/{kept['id']}")


def test_the_base_is_chosen_by_options_and_by_the_request(api: webuiapi.WebUIApi) -> None:
    skipped = api.txt2img(prompt="a", seed=1, override_settings={"CLIP_stop_at_last_layers": 2}, **SMALL)
    assert (skipped.info["clip_skip"], api.get_options()["CLIP_stop_at_last_layers"]) == (2, 1)
    api.txt2img(
        prompt="a",
        override_settings={"CLIP_stop_at_last_layers": 2},
        override_settings_restore_afterwards=False,
        **SMALL,
    )
    assert api.get_options()["CLIP_stop_at_last_layers"] == 2
    api.set_options({"CLIP_stop_at_last_layers": 1, "some_extension_of_the_webui": 3})


@pytest.mark.parametrize(
    ("extra", "status", "said"),
    [
        ({"sampler_name": "Eulr"}, 400, "'Euler'"),
        ({"scheduler": "Simple"}, 400, "Simple"),
        ({"script_name": "X/Y/Z Plot"}, 422, "script"),
        ({"alwayson_scripts": {"Simple wildcards": []}}, 422, "Simple wildcards"),
        ({"restore_faces": True}, 422, "restore_faces"),
        ({"prompt": "<lora:nobody:1>"}, 422, "nobody"),
        ({"override_settings": {"sd_model_checkpoint": "nobody"}}, 422, "nobody"),
        ({"steps": 1000}, 422, "steps"),
    ],
)
def test_what_cannot_be_done_is_said(api: webuiapi.WebUIApi, extra: dict, status: int, said: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        api.txt2img(**{"prompt": "a"} | SMALL | extra)
    assert caught.value.args[0] == status
    assert said in caught.value.args[1]


def test_answers_of_other_programs_shapes(studio: Served) -> None:
    """What is not the client's: data URLs, addresses, unknown fields, nulls, and what is wrong."""

    def post(path: str, **body: object) -> tuple[int, dict]:
        answer = studio.client.post(f"/sdapi/v1/{path}", json=body)
        return answer.status_code, answer.json()

    buffer = io.BytesIO()
    Image.new("RGB", (80, 48), "red").save(buffer, "JPEG")
    url = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    status, body = post("img2img", init_images=[url], prompt=None, steps=1, unknown=1, width=64, height=None)
    assert status == 200, body
    assert Image.open(io.BytesIO(base64.b64decode(body["images"][0]))).size == (64, 64)
    assert post("img2img", prompt="a")[0] == 404
    status, body = post("img2img", init_images=["http://127.0.0.1/x.png"])
    assert (status, body["error"]) == (422, "Unprocessable Entity" if "Entity" in body["error"] else body["error"])
    assert "not fetched" in body["detail"]
    assert body.keys() == {"error", "detail", "body", "errors"}
    assert post("img2img", init_images=["%%%"])[0] == 422
    assert post("img2img", init_images=[base64.b64encode(b"no picture at all").decode()])[0] == 422
    wrong = base64.b64encode(b"no picture at all").decode()
    status, body = post("extra-single-image", image=wrong, upscaler_1="Lanczos")
    assert (status, body["detail"]) == (422, "picture 1 is not an image that can be read")
    assert post("extra-batch-images", imageList=[])[0] == 422
    assert not list((studio.folder / "inputs").glob("*"))
    answer = studio.client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "nobody"})
    assert answer.status_code == 422
    assert "nobody" in answer.json()["detail"]
    assert studio.client.post("/sdapi/v1/options", json={"sd_vae": "x.pt"}).status_code == 400
    for path in ("refresh-loras", "refresh-embeddings", "refresh-vae", "unload-checkpoint", "reload-checkpoint"):
        assert studio.client.post(f"/sdapi/v1/{path}").status_code == 200
    for path in ("script-info", "extensions"):
        assert studio.get(f"/sdapi/v1/{path}") == []
    assert str(studio.models) not in studio.client.get("/sdapi/v1/sd-models").text


def test_a_client_that_goes_takes_its_job_along(studio: Served) -> None:
    import httpx2

    with pytest.raises(httpx2.TimeoutException):
        studio.client.post("/sdapi/v1/txt2img", json={"prompt": "long", "steps": 150, "n_iter": 50}, timeout=2)
    began = time.monotonic()
    wait(lambda: studio.get("/sdapi/v1/progress")["state"]["job_count"] == 0, 30)
    assert time.monotonic() - began < 30
    wait(lambda: not list((studio.folder / "jobs").glob("*")))


def test_many_clients_wait(studio: Served) -> None:
    answers: list[int] = []

    def draw(seed: int) -> None:
        body = {"prompt": "a", "seed": seed, "steps": 1, "sampler_name": "Euler"}
        answers.append(studio.client.post("/sdapi/v1/txt2img", json=body).status_code)

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert answers == [200] * 20


def test_the_models_name(studio: Served) -> None:
    """A base by its title, its file, its name on the shelf, its stem."""
    for name in (TITLE, BASE, "tiny", "TINY"):
        assert studio.client.post("/sdapi/v1/options", json={"sd_model_checkpoint": name}).json() is None
        assert studio.get("/sdapi/v1/options")["sd_model_checkpoint"] == TITLE
