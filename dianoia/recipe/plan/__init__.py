"""Plan of a recipe: work, memory, time and disk per stage, and what happens to each. No torch.

`run_plan.plan_run` computes it from `stage_work`, `memory`, `work_time` and `disk`; `plan_text.print_plan` prints it.
"""
