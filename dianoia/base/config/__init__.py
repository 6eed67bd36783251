"""Configuration: one frozen table a stage. No torch, so that `--help` and `--dry-run` start at once."""

from dianoia.base.config.claims import ClaimsSettings
from dianoia.base.config.data import DataSettings, FileSettings, Problems, path_of
from dianoia.base.config.demonstrations import DemonstrationsStage
from dianoia.base.config.endpoint import EndpointSettings
from dianoia.base.config.evaluate import EvaluateStage
from dianoia.base.config.optimizer import OptimizerSettings
from dianoia.base.config.preferences import PreferencesStage
from dianoia.base.config.pretrain import Habits, ModelShape, PretrainStage
from dianoia.base.config.reward_model import PairSettings, RewardModelStage
from dianoia.base.config.reward_parts import (
    CosineSettings,
    FunctionSettings,
    JudgeRewardSettings,
    ModelRewardSettings,
    RepetitionSettings,
    TagSettings,
)
from dianoia.base.config.rewards import PreferenceSettings, RewardSettings
from dianoia.base.config.rl import (
    AlgorithmSettings,
    LengthStep,
    ProgressSettings,
    RLStage,
    SamplingSettings,
)
from dianoia.base.config.sample import KeepSettings, SampleStage
from dianoia.base.config.settings import Settings
from dianoia.base.config.sft import DatasetSettings, SFTOptimizerSettings, SFTStage

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
    "SFTOptimizerSettings",
    "SFTStage",
    "SampleStage",
    "SamplingSettings",
    "Settings",
    "TagSettings",
    "path_of",
]
