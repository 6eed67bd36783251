"""The machine: devices and threads, what a stage is given, states to resume from, tables, progress, endpoints."""
