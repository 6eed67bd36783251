"""From a rollout to a score with its breakdown, and from flat scores to what is wrong."""
