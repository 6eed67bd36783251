"""Which stages of a run are done, can be resumed, are out of date or new, and what a command does with each. No torch."""
