"""Runs a recipe: each stage in its own folder, and the results at the end.

`recipe.resume.stage_status` has decided what happens to each stage; this room does it. A stage that begins writes what it
is made from, one that is done writes its manifest last; one that is run again leaves what was there under
`stages/.old/`. Everything that can be refused is refused before the first stage begins.

`run`: one stage after another, in this process. `side_by_side`: several at a time, each in a process of its own,
which `host` starts and `child` is; `order` says which comes next. `stage` is what both do with a stage, `results`
what they keep true meanwhile.
"""
