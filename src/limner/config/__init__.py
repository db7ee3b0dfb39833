"""Settings: each declared once; command-line options, TOML files, run.toml and docs/settings.md come from them."""

from limner.config.captions import Captioning, CaptionsSettings
from limner.config.checking import CheckSettings
from limner.config.commands import (
    DemoSettings,
    Drawing,
    GenerateSettings,
    GridSettings,
    InspectSettings,
)
from limner.config.common import KIND_FOLDERS, Base, Machine, Models, ModelsFolder, Precision, Prediction, Seed
from limner.config.editing import (
    ConvertSettings,
    Directions,
    Edited,
    ExtractSettings,
    FilePrecision,
    MergeSettings,
    ResizeSettings,
)
from limner.config.judging import CompareSettings, EvaluateSettings, Judging
from limner.config.keyword import KeywordSettings
from limner.config.library import (
    DownloadSettings,
    ModelsSettings,
    SearchSettings,
    TidySettings,
    Wanted,
    library_path,
)
from limner.config.preparing import ImageFormat, PrepareSettings
from limner.config.settings import FilePath, Settings, Words, names, nearest, read_toml
from limner.config.studio import StudioSettings
from limner.config.training import (
    METHOD_NAMES,
    OF_ONE_RUN,
    RUN_HEADER,
    Learning,
    Output,
    Pictures,
    Prior,
    ResumeSettings,
    TrainSettings,
    read_training,
)
from limner.config.watching import Watching

__all__ = [
    "KIND_FOLDERS",
    "METHOD_NAMES",
    "OF_ONE_RUN",
    "RUN_HEADER",
    "Base",
    "Captioning",
    "CaptionsSettings",
    "CheckSettings",
    "CompareSettings",
    "ConvertSettings",
    "DemoSettings",
    "Directions",
    "DownloadSettings",
    "Drawing",
    "Edited",
    "EvaluateSettings",
    "ExtractSettings",
    "FilePath",
    "FilePrecision",
    "GenerateSettings",
    "GridSettings",
    "ImageFormat",
    "InspectSettings",
    "Judging",
    "KeywordSettings",
    "Learning",
    "Machine",
    "MergeSettings",
    "Models",
    "ModelsFolder",
    "ModelsSettings",
    "Output",
    "Pictures",
    "Precision",
    "Prediction",
    "PrepareSettings",
    "Prior",
    "ResizeSettings",
    "ResumeSettings",
    "SearchSettings",
    "Seed",
    "Settings",
    "StudioSettings",
    "TidySettings",
    "TrainSettings",
    "Wanted",
    "Watching",
    "Words",
    "library_path",
    "names",
    "nearest",
    "read_toml",
    "read_training",
]
