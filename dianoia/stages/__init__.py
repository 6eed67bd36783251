"""The stages of the paper, one `run(config, context)` each. They do not know one another."""
