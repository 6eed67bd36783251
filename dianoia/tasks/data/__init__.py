"""Sets of problems from files, folders and the hub: where they are, what their columns mean, what is kept."""
