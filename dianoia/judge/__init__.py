"""The judge: scores rollouts, and diagnoses what is wrong with the scores.

- `judge.judge`: runs the parts of a reward and adds them up. Every part has one protocol, `judge.reward_part`.
- The parts: `judge.rules` (accuracy, format, language, shaping), `judge.functions` (functions of users, found by
  `judge.function_files`, given what `judge.completion_text` makes of a response), `judge.reward_model_part`, `judge.llm_grader`.
- `judge.verification`: answers graded by the verifiers of `tasks`, many at once and early; counts of verdicts.
- `judge.problem_sets`: the problems that an RL stage draws, by purpose.
- `judge.diagnosis`, `judge.group_summary`, `judge.hacking`: flat rewards and reward hacking. `judge.unpaid`: a reward
  function that pays nothing for well-formed responses, with the likely cause.
- `judge.llm_rewriter`: the LLM that rewrites thoughts for a `sample` stage.
"""
