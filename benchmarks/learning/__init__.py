"""Whether speed learns: held-out accuracy against seconds and steps, beside TRL."""
