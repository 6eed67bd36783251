"""Shared by every room: records, errors, random streams, atomic files, stopping, progress. No torch, no configuration."""
