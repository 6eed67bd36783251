"""The table of `make benchmark`: Dianoia compared with TRL, transformers and the limits of the machine."""
