"""How time and memory of a step grow with its sizes."""
