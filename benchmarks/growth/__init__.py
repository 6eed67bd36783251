"""Growth of time and memory of a step with its sizes."""
