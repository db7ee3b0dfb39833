"""How a function becomes a command: its options from a class of settings, and the options that every command has."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

import limner
from limner.cli.options import group, parameters, read_settings
from limner.cli.output import Output
from limner.config import Machine, Settings
from limner.errors import UserError

EVERYWHERE = group(Machine.title)
OPTIONAL_PATH = Path | None

app = App(
    name="limner",
    help="Teach Stable Diffusion a new subject from 20-30 pictures, on your own machine.",
    version=limner.__version__,
    exit_on_error=False,
    print_error=False,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


class Interrupted(Exception):
    """The person stopped a command whose state is saved. facts: for --json."""

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.facts = facts


class Unfinished(UserError):
    """A command could do only a part of what it was called for. facts: of that part, for --json."""

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.facts = facts


def _option(name: str, annotation: Any, default: Any, help: str) -> inspect.Parameter:
    option = Parameter(name=f"--{name}", help=help, group=EVERYWHERE, negative="", show_default=False)
    identifier = f"{name}_"  # no field of settings ends so
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(identifier, kind, default=default, annotation=Annotated[annotation, option])


COMMON = [
    _option("json", bool, False, "Print one JSON object as the last line of stdout."),
    _option("quiet", bool, False, "No progress and no messages but warnings."),
]
CONFIGURABLE = [
    _option("config", OPTIONAL_PATH, None, "A TOML file of settings, such as the run.toml of an earlier run."),
    _option("set", tuple[str, ...], (), "A setting as name=value or table.name=value; may be repeated."),
]


SETTINGS: dict[str, type[Settings]] = {}  # of every verb, in the order of the work


def verb(
    settings: type[Settings], *positional: str, configurable: bool = False, rename: str | None = None
) -> Callable[[Callable[..., dict]], Callable[..., dict]]:
    """Make a command of `function(values, origin, output, **own)`, or of `function(settings, output)`.

    The options are the fields of `settings`, those that every command has, and the keyword-only parameters that the
    function itself declares. A configurable command also takes --config and --set, and gets values yet to be read.
    rename: the command's name, if the function has another; "models tidy" is a command below another one.
    """

    def register(function: Callable[..., dict]) -> Callable[..., dict]:
        own = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
        extra = [*own, *(CONFIGURABLE if configurable else []), *COMMON]
        signature = inspect.Signature([*parameters(settings, positional), *extra])

        def command(*args: Any, **options: Any) -> dict:
            given = signature.bind(*args, **options).arguments
            output = Output(json=given.pop("json_", False), quiet=given.pop("quiet_", False))
            config, assignments = given.pop("config_", None), given.pop("set_", ())
            switches = {p.name: given.pop(p.name) for p in own if p.name in given}
            given = {name: value for name, value in given.items() if value is not None}
            values, origin, remark = read_settings(settings, given, config, assignments)
            if remark:
                output.say(remark)
            if configurable:
                return function(values, origin, output, **switches)
            read = settings.read(values, origin)
            for question in read.questions():
                output.warn(question)
            return function(read, output, **switches)

        command.__signature__ = signature  # type: ignore[attr-defined]
        command.__doc__ = function.__doc__
        name = rename or function.__name__
        SETTINGS[name] = settings
        *above, last = name.split(" ")
        (app[above[0]] if above else app).command(command, name=last)
        return function

    return register
