"""Results: what a run directory holds, as people and programs ask for it. No torch until a model is loaded.

    run_results  `load_run`: results with intervals, state of each stage, metrics, rollouts and checkpoints of a run
    run_list     the runs of a folder, one summary each

Not here: writing a run directory (`pipeline`), and the report, which also reads damaged ones (`report`).
"""
