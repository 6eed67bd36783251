"""Looks up what a recipe needs before any work begins, and refuses what cannot run. No torch."""
