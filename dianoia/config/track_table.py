"""The `[track]` table: which trackers follow a run. It belongs to no stage, so that changing it runs nothing again."""

from typing import Literal

from pydantic import Field

from dianoia.config.settings import Settings

TrackerName = Literal["tensorboard", "wandb", "trackio", "mlflow"]


class TrackSettings(Settings):
    """What copies the metrics of a run to trackers, from a process of its own."""

    to: list[TrackerName] = []
    """The trackers; each needs the extra of its name. Empty: none."""
    run: str | None = Field(default=None, min_length=1)
    """Name of the run, by which its stages are grouped. Absent: that of the run directory."""
    project: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")
    """The tracker's project or experiment. Absent: by `WANDB_PROJECT` or `MLFLOW_EXPERIMENT_NAME`, else `dianoia`."""
    online: bool = False
    """Whether metrics and rollouts may leave this machine: W&B sends to its server, MLflow to `MLFLOW_TRACKING_URI`. TensorBoard
    and trackio write files in any case."""
