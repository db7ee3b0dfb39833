"""`python -m recipes.pocket.adopt`: a clone goes on where the shipped weights ended, without the build behind them."""

import json
import shutil

import torch
from diffusers import UNet2DConditionModel

from recipes.pocket import SHIPPED, autoencoder, clip, unet
from recipes.pocket.training import ADOPTED


def run() -> None:
    """Put the shipped weights into the build folder as the stages that they are the result of, all done."""
    made = json.loads((SHIPPED / "recipe.json").read_text())
    for folder, part in ((autoencoder.FOLDER, "vae"), (clip.FOLDER, "text_encoder")):
        shutil.copytree(SHIPPED / part, folder / part, dirs_exist_ok=True)
        (folder / "done").touch()
    network = UNet2DConditionModel.from_pretrained(SHIPPED / "unet", torch_dtype=torch.float32)
    unet.FOLDER.mkdir(parents=True, exist_ok=True)
    state = {"step": made["steps"], "optimizer": {"average": [p.detach() for p in network.parameters()]}}
    for name, phase in unet.PHASES.items():  # those before it need no weights any more
        mine = name == made["phase"]
        torch.save(state if mine else {"step": phase.steps}, unet.state_of(name))
        if mine:
            break
    ADOPTED.write_text(json.dumps(made["trainings"]))


if __name__ == "__main__":
    run()
