"""What every room may use: records, errors, random streams, atomic files, stopping, progress. No torch, no configuration."""
