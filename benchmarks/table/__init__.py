"""What `make benchmark` measures: Dianoia beside TRL and transformers, and beside what the machine can do."""
