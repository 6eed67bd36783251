"""The tables of a recipe as frozen models: one module per table. No torch, so that `--help` and `--dry-run` start at once.

A model checks its own keys and how they fit together; `recipe.check` checks them against files, models and one another.
The docstrings of classes and fields are the reference (`docs/reference/keys.md`, `scripts/reference.py`).
"""

from dianoia.config.claims_table import ClaimsSettings
from dianoia.config.data_table import DataSettings, FileSettings, Problems, path_of
from dianoia.config.demonstrations import DemonstrationsStage
from dianoia.config.endpoint_table import EndpointSettings
from dianoia.config.evaluate import EvaluateStage
from dianoia.config.lora_table import LoRASettings
from dianoia.config.optimizer import OptimizerSettings
from dianoia.config.preferences import PreferencesStage
from dianoia.config.pretrain import Habits, ModelShape, PretrainStage
from dianoia.config.reward_model import PairSettings, RewardModelStage
from dianoia.config.reward_parts import (
    CosineSettings,
    FunctionSettings,
    JudgeRewardSettings,
    ModelRewardSettings,
    RepetitionSettings,
    TagSettings,
)
from dianoia.config.rewards import PreferenceSettings, RewardSettings
from dianoia.config.rl import AlgorithmSettings, ProgressSettings, RLStage
from dianoia.config.rollouts_table import RolloutSettings
from dianoia.config.sample import KeepSettings, SampleStage
from dianoia.config.sampling import LengthStep, SamplingSettings
from dianoia.config.settings import Settings
from dianoia.config.sft import DatasetSettings, SFTOptimizerSettings, SFTStage
from dianoia.config.template_table import TemplateSettings
from dianoia.config.track_table import TrackSettings

__all__ = [
    "AlgorithmSettings",
    "ClaimsSettings",
    "CosineSettings",
    "DataSettings",
    "DatasetSettings",
    "DemonstrationsStage",
    "EndpointSettings",
    "EvaluateStage",
    "FileSettings",
    "FunctionSettings",
    "Habits",
    "JudgeRewardSettings",
    "KeepSettings",
    "LengthStep",
    "LoRASettings",
    "ModelRewardSettings",
    "ModelShape",
    "OptimizerSettings",
    "PairSettings",
    "PreferenceSettings",
    "PreferencesStage",
    "PretrainStage",
    "Problems",
    "ProgressSettings",
    "RLStage",
    "RepetitionSettings",
    "RewardModelStage",
    "RewardSettings",
    "RolloutSettings",
    "SFTOptimizerSettings",
    "SFTStage",
    "SampleStage",
    "SamplingSettings",
    "Settings",
    "TagSettings",
    "TemplateSettings",
    "TrackSettings",
    "path_of",
]
