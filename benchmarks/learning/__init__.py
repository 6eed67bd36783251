"""Learning curves: held-out accuracy against seconds and steps, compared with TRL."""
