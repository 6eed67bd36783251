"""Prompt templates, and what is read from a response: thought, answer, reflection words, languages."""
