"""`limner completion`: cyclopts writes the script of each shell from the commands themselves."""

from limner.cli.app import app
from limner.cli.output import Output
from limner.config import CompletionSettings
from limner.errors import UserError


def show_completion(settings: CompletionSettings, output: Output) -> dict:
    from cyclopts.completion.detect import ShellDetectionError, detect_shell

    try:
        shell = settings.shell or detect_shell()
    except ShellDetectionError as error:
        raise UserError("cannot tell which shell this is; name it, as in limner completion bash") from error
    if not settings.install:
        script = app.generate_completion(shell=shell)
        if not output.json:
            print(script)
        return {"shell": shell, "script": script}
    path = app.install_completion(shell=shell)
    output.result(f"completion for {shell} is in {path}; it works in the next shell that you open")
    return {"shell": shell, "path": str(path)}
