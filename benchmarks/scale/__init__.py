"""The tables and the figure of `docs/scale.md`."""
