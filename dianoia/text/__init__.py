"""Text: prompts, and what is read from a response.

`template` and `dialogue` put a question into a prompt, `parsing` and `boxes` find thought and answer, `language` and
`latin_words` tell languages apart, `reflection` counts the words of a model that looks back, `visible` is what a reward model
sees. Not here: whether an answer is right (`tasks`).
"""
