"""The miniature: a small world in which what the paper reports can be seen in minutes on two cores."""
