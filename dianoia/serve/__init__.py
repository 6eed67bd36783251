"""Serving: models behind an OpenAI-compatible API, with a chat page. Needs the extra `serve`.

    page_routes   the chat page, its files in `page/`, and its lookups of the miniature's questions

Not here: the engine that answers, and models by name (`inference`).
"""
