"""`python -m recipes.pocket.adopt`: the phases of version 4 go on from the shipped weights of version 3."""

import json
import shutil

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from recipes.pocket import SHIPPED, autoencoder, clip, unet
from recipes.pocket.training import ADOPTED, save_state


def run() -> None:
    """Put the shipped weights into the build folder as what the phases before the last ones ended in."""
    made = json.loads((SHIPPED / "recipe.json").read_text())
    shutil.copytree(SHIPPED / "text_encoder", clip.BEFORE, dirs_exist_ok=True)
    vae = AutoencoderKL.from_pretrained(SHIPPED / "vae", torch_dtype=torch.float32)
    network = UNet2DConditionModel.from_pretrained(SHIPPED / "unet", torch_dtype=torch.float32)
    for part, folder, phases in (
        (vae, autoencoder.FOLDER, autoencoder.PHASES),
        (network, unet.FOLDER, unet.PHASES),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        *before, _ = phases
        for name in before:  # all but the last of them need no weights any more
            average = [p.detach() for p in part.parameters()] if name == before[-1] else []
            state = {"step": phases[name].steps, "optimizer": {"average": average}}
            save_state(folder / f"{name}.state.pt", state)
    ADOPTED.write_text(json.dumps(made["trainings"]))


if __name__ == "__main__":
    run()
