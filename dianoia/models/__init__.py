"""Models from outside: Hugging Face folders, checked without torch and then loaded; the hub; LLM endpoints.

Not here: the base models that ship with the package (`dianoia.bases`).
"""
