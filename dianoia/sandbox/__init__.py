"""Untrusted work in processes that can be ended: programs behind walls, and workers that grade."""
