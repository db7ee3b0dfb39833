"""Write docs/settings.md, and the studio's forms of methods, from the settings' own declarations.

Tests fail while they are not up to date.
"""

import inspect
import json
from pathlib import Path

from limner.captions.captioner import captioners, find_captioner
from limner.cli.options import ordered_fields, shown_default
from limner.cli.verbs import SETTINGS
from limner.config import Settings, usual_range
from limner.methods.method import methods
from limner.studio.forms import form
from limner.studio.methods import FORMS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
HEAD = """# Every setting

Written by `scripts/write_docs.py` from the declarations in `src/limner/config/` and the methods; do not edit it here.

On the command line a setting is an option, as in `--batch-size 4`; in a TOML file and for `--set` it is
`batch_size = 4`. Every command also has `--json` (one JSON object as the last line of stdout) and `--quiet`; `train`
has `--config`, `--set`, `--dry-run` and `--rank`. Exit status: 0 done, 2 you can fix it, 130 interrupted with the state
saved, 1 a bug.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    told: dict[type[Settings], str] = {}
    for verb, settings in SETTINGS.items():
        same = f"Those of `limner {told.get(settings)}`.\n"
        parts.append(f"## limner {verb}\n\n{same if settings in told else table(settings)}")
        told.setdefault(settings, verb)
    for name, method in sorted(methods().items()):
        parts.append(f"## The table [{name}]\n\n{table(method.Config)}")
    for name in captioners():
        config = find_captioner(name).Config
        if config.model_fields:
            parts.append(f"## --captioner-set of {name}\n\n{table(config)}")
    return "\n".join(parts)


def table(settings: type[Settings]) -> str:
    rows = ["| setting | default | usual | |", "|---|---|---|---|"]
    for name in ordered_fields(settings):
        field = settings.model_fields[name]
        default = shown_default(field) or ""
        meaning = str(field.description).replace("|", "\\|")
        usual = usual_range(field) or ""
        rows.append(f"| `{field.alias or name}` | {default} | {usual} | {meaning} |")
    return "\n".join(rows) + "\n"


def method_forms() -> str:
    """What the studio's server, which imports no torch and so no method, knows of each."""
    told = {}
    for name, method in sorted(methods().items()):
        module = inspect.getmodule(method)
        about = (module.__doc__ if module is not None else "") or ""
        told[name] = {
            "about": about.strip().splitlines()[0].strip(),
            "kind": method.kind,
            "needs_images": method.needs_images,
            "sections": form(method.Config, method.from_run),
        }
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    FORMS.write_text(method_forms(), encoding="utf-8")
