"""Names of the held-out metrics in `metrics.jsonl` of an rl stage that more than one room reads."""

ACCURACY = "heldout/pass@1"
"""Share of right samples on the stage's held-out problems, by rule."""
HELPFUL = "heldout/rewards/helpful/mean"
"""Mean score of the helpful reward model on held-out general prompts."""
