"""Evaluation: models on public benchmarks, files and problem sets, side by side.

    benchmarks         public benchmarks: where their problems are, how the paper and open-r1 ask them, published results; no torch
    targets            what a person types behind `--on`: benchmarks, sets and files; no torch
    evaluation_recipe  the recipe of `evaluate` stages that measures models on targets
    scores             what such a run has measured, and the paired difference of two models; no torch
    score_table        the results as text of 80 columns and as JSON; no torch

Not here: sampling and grading, which the `evaluate` stage does, and the paper's claims (`claims`).
"""
