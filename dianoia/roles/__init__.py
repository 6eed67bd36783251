"""The roles as stages use them: rollouts from a sampler, scores from a judge, measures of both."""
