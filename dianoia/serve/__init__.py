"""Serving: models behind an OpenAI-compatible API, with a chat page. Needs the extra `serve`.

    running       binds an address, serves, ends at a signal
    app           all routes; access (who may ask), api_errors
    chat_endpoint, completion_endpoint   requests (request_types) to answers (answers, event_stream, token_texts)
    service       models by name over the live engine, and the server's counters
    page_routes   the chat page, its files in `page/`, and its lookups of the miniature's questions

Not here: the engine that answers, and models by name (`inference`).
"""
