"""Runs a recipe: each stage in its own folder, and the results at the end.

`recipe.resume.stage_status` has decided what happens to each stage. This room does it. A stage that begins writes
`begun.json`, a stage that is done writes its manifest last, and a stage that is re-run leaves its old folder under
`stages/.old/`. Everything that can be refused is refused before the first stage begins.

    scheduler         which stage starts when; the same for one job and for many
    stage_processes   executor for several jobs or ranks: processes per stage, forked by `fork_server`, and what their ends mean
    stage_process     what such a process does
    stage             one stage: run in its folder, from checked inputs to its manifest; executors for one job in this process
    results           run.json, recipe.json and results.json of the run directory
"""
