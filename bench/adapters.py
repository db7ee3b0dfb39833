"""`python -m bench.adapters`: the time of a training step of every adapter, beside the step without one, and beside
PEFT's and LyCORIS's own layers.

All run on the pocket UNet, on the same layers and the same batch, turn by turn: a round is one step of each, and what
is reported is the median over the rounds of a step's time as a share of the bare step of its round. The bare step
takes the gradient through all of the network, to its input. A step is forward, backward, AdamW and, of ours, the
weights written anew. One thread, of which the processor's time counts, so that other programs' work does not. Prints a
table and one JSON line.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from limner.base.conditioning import Conditioning
from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.base.pocket import NAME
from limner.device import DTYPES, generator
from limner.methods.family import AdapterConfig, Adapters, targets
from limner.methods.method import methods

RANK = 16
Step = Callable[[], None]
Batch = tuple[Tensor, Tensor, Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--layers", choices=("attention", "attention+mlp", "all"), default="attention+mlp")
    parser.add_argument("--precision", choices=sorted(DTYPES), default="fp32")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = open_base(NAME, torch.device("cpu"), DTYPES[given.precision])
    steps, skipped = {}, {}
    for name, make in contenders(given.layers).items():
        try:
            steps[name] = make(copied(model), batch_of(model, given.batch))
            steps[name]()  # kernels are prepared, and what does not run at all is found
        except Exception as problem:  # of other people's code, on layers that it may not know
            steps.pop(name, None)
            skipped[name] = f"{type(problem).__name__}: {problem}".splitlines()[0][:100]
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(given.rounds):
        for name, step in steps.items():
            began = time.process_time()
            step()
            seconds[name].append(time.process_time() - began)
    ratios = {
        name: statistics.median(one / bare for one, bare in zip(times, seconds["bare"], strict=True))
        for name, times in seconds.items()
    }
    for name, ratio in ratios.items():
        spread = min(one / bare for one, bare in zip(seconds[name], seconds["bare"], strict=True))
        print(
            f"{name:22} {ratio:6.2f} times the bare step (best {spread:.2f}), {statistics.median(seconds[name]):.3f} s"
        )
    for name, reason in skipped.items():
        print(f"{name:22} does not run: {reason}")
    rounded = {name: round(ratio, 3) for name, ratio in ratios.items()}
    print(json.dumps({"times_bare": rounded, "bare_seconds": statistics.median(seconds["bare"]), **vars(given)}))


def copied(model: BaseModel) -> BaseModel:
    """The model with a UNet of its own."""
    other = copy.copy(model)
    other.networks = model.networks | {"unet": copy.deepcopy(model.networks["unet"])}
    return other


def batch_of(model: BaseModel, count: int) -> Batch:
    """Noisy latents (count, 4, side, side), timesteps and text states."""
    random, side = generator(0), model.resolution // model.factor
    latents = torch.randn(count, 4, side, side, generator=random).to(model.dtype, memory_format=torch.channels_last)
    with torch.no_grad():
        states = model.encode_prompts(["a drawing of a fox"] * count).hidden_states
    return latents, torch.randint(0, 1000, (count,), generator=random), states


def contenders(layers: Any) -> dict[str, Callable[[BaseModel, Batch], Step]]:
    """What is timed, by name; those of Limner are all the methods of the family that are registered."""
    found: dict[str, Callable[[BaseModel, Batch], Step]] = {"bare": _bare}
    for name, method in sorted(methods().items()):
        if issubclass(method, Adapters) and issubclass(method.Config, AdapterConfig):
            found[f"limner {name}"] = _ours(method, layers)
    for name, make in _peft().items():
        found[f"peft {name}"] = _theirs(make, layers)
    for name, make in _lycoris().items():
        found[f"lycoris {name}"] = _theirs(make, layers)
    return found


def _bare(model: BaseModel, batch: Batch) -> Step:
    latents = batch[0].clone().requires_grad_()

    def step() -> None:
        _error(model, (latents, *batch[1:])).backward()
        latents.grad = None

    return step


def _ours(method: type[Adapters], layers: Any) -> Callable[[BaseModel, Batch], Step]:
    def make(model: BaseModel, batch: Batch) -> Step:
        config = method.Config.read({"layers": layers}, "bench")
        assert isinstance(config, AdapterConfig)
        taught = method(config)
        groups = taught.attach(model)
        optimizer = torch.optim.AdamW([p for group in groups for p in group.parameters], lr=1e-4, fused=True)

        def step() -> None:
            _error(model, batch).backward()
            optimizer.step()
            optimizer.zero_grad()
            taught.refresh()

        return step

    return make


def _theirs(make: Callable[[BaseModel, list[str]], Iterator[nn.Parameter]], layers: Any) -> Any:
    def prepared(model: BaseModel, batch: Batch) -> Step:
        paths = [name.removeprefix("unet.") for name, _ in targets(model, layers, text_encoder=False)]
        optimizer = torch.optim.AdamW(list(make(model, paths)), lr=1e-4, fused=True)

        def step() -> None:
            _error(model, batch).backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    return prepared


def _error(model: BaseModel, batch: Batch) -> Tensor:
    latents, timesteps, states = batch
    return model.predict(latents, timesteps, Conditioning(states)).float().square().mean()


def _peft() -> dict[str, Callable[[BaseModel, list[str]], Iterator[nn.Parameter]]]:
    import peft

    configs = {
        "lora": lambda paths: peft.LoraConfig(r=RANK, lora_alpha=1, target_modules=paths),
        "dora": lambda paths: peft.LoraConfig(r=RANK, lora_alpha=1, target_modules=paths, use_dora=True),
        "loha": lambda paths: peft.LoHaConfig(r=RANK, alpha=1, target_modules=paths),
        "lokr": lambda paths: peft.LoKrConfig(r=RANK, alpha=1, target_modules=paths, decompose_factor=8),
        "oft": lambda paths: peft.OFTConfig(r=0, oft_block_size=RANK, target_modules=paths, use_cayley_neumann=False),
        "ia3": lambda paths: peft.IA3Config(
            target_modules=[path for path in paths if path.endswith(("to_k", "to_v", "net.2"))],
            feedforward_modules=[path for path in paths if path.endswith("net.2")],
        ),
    }

    def injected(config: Any) -> Callable[[BaseModel, list[str]], Iterator[nn.Parameter]]:
        def make(model: BaseModel, paths: list[str]) -> Iterator[nn.Parameter]:
            unet = model.networks["unet"]
            peft.inject_adapter_in_model(config(paths), unet)
            return (parameter for parameter in unet.parameters() if parameter.requires_grad)

        return make

    return {name: injected(config) for name, config in configs.items()}


def _lycoris() -> dict[str, Callable[[BaseModel, list[str]], Iterator[nn.Parameter]]]:
    from lycoris.modules.diag_oft import DiagOFTModule
    from lycoris.modules.locon import LoConModule
    from lycoris.modules.loha import LohaModule
    from lycoris.modules.lokr import LokrModule

    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "lora": (LoConModule, {}),
        "dora": (LoConModule, {"weight_decompose": True}),
        "loha": (LohaModule, {}),
        "lokr": (LokrModule, {"factor": 8}),
        "oft": (DiagOFTModule, {}),
    }

    def applied(kind: Any, options: dict[str, Any]) -> Callable[[BaseModel, list[str]], Iterator[nn.Parameter]]:
        def make(model: BaseModel, paths: list[str]) -> Iterator[nn.Parameter]:
            unet = model.networks["unet"]
            modules = [kind(path, unet.get_submodule(path), 1.0, RANK, 1.0, **options) for path in paths]
            for module in modules:
                module.apply_to()
            return (parameter for module in modules for parameter in module.parameters() if parameter.requires_grad)

        return make

    return {name: applied(*kind) for name, kind in kinds.items()}


if __name__ == "__main__":
    main()
