"""The sections of the report, one module each: from a run that was read to HTML."""
