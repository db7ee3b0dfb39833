"""`limner studio` as a person starts it."""

from limner.cli.output import Output
from limner.config import StudioSettings


def run_studio(settings: StudioSettings, output: Output) -> dict:
    from limner.studio.serve import serve

    def tell(address: str) -> None:
        output.result(f"the studio is open at {address}")
        output.say(f"it keeps what it makes in {settings.folder}; press Ctrl-C to close it, trainings go on next time")

    serve(settings, tell)
    return {}
