"""Model folders in the Hugging Face format: looked through without torch, then loaded. Bases that ship: `bases`."""
