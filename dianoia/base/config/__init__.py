"""Configuration: one frozen table a stage. No torch, so that `--help` and `--dry-run` start at once."""

from dianoia.base.config.endpoint import EndpointSettings
from dianoia.base.config.evaluate import EvaluateStage
from dianoia.base.config.optimizer import OptimizerSettings
from dianoia.base.config.pretrain import Habits, ModelShape, PretrainStage
from dianoia.base.config.rl import (
    AlgorithmSettings,
    LengthStep,
    ProgressSettings,
    RewardSettings,
    RLStage,
    SamplingSettings,
)
from dianoia.base.config.sample import KeepSettings, SampleStage
from dianoia.base.config.settings import Settings

__all__ = [
    "AlgorithmSettings",
    "EndpointSettings",
    "EvaluateStage",
    "Habits",
    "KeepSettings",
    "LengthStep",
    "ModelShape",
    "OptimizerSettings",
    "PretrainStage",
    "ProgressSettings",
    "RLStage",
    "RewardSettings",
    "SampleStage",
    "SamplingSettings",
    "Settings",
]
