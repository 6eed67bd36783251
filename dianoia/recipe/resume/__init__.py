"""Where each stage of a run stands: done, to be resumed, changed or new. No torch."""
