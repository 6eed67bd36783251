"""The mathematics of reinforcement learning, pure: no configuration, no files, no device policy."""
