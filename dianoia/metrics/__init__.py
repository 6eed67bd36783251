"""Metrics of training and evaluation, computed from scored groups.

`definitions` says what each metric is, `group_metrics` and `training_metrics` compute them, `votes` and `most_common_answer` are
majority votes and the baseline, `recorder` writes the rows of an `rl` stage, `history` is what its diagnoses look back on.
Not here: claims about a run (`claims`), charts (`report`).
"""
