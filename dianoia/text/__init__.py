"""Prompts, and what can be read from a response: thought, answer, reflection, language."""
