"""Trackers: copies a run's numbers to TensorBoard, Weights & Biases, trackio or MLflow, outside the training process.

In: the run directory, where `metrics.jsonl` stays the truth. Out: one tracker run per stage, grouped by the run. Nothing here
is called by a stage, and nothing here can stop or slow one: `followers` starts a process per tracker, and a tracker that
fails ends its own process alone. No torch.

    tracker          what a tracker has to be (`Tracker`, `StageFeed`), and what it is told of a stage
    trackers         the trackers by name, the packages that they need, whether these are there
    to_tensorboard, to_wandb, to_trackio, to_mlflow    one tracker each
    stage_files      rows, rollouts and counts of a stage, read as they are written; the names of metrics
                     that TRL's dashboards expect
    fed              which runs a tracker has been fed, and what is finished
    follower         feeds one tracker with one run: never a step twice, none missing
    followers        the processes beside `dianoia run`
"""
