"""The ground floor: records, configuration, run directory, errors. Standard library and pydantic only."""
