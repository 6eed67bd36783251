"""Inference: models as people name them, loaded and asked; the same engines and random streams as in training.

    checkpoints   what a person types as MODEL, and the checkpoints of a run by name; no torch
    chat_messages  conversations as people and chat APIs write them, as turns; no torch
    response      a response split for people into thought and content, with how it ended; no torch
    known_questions  questions of the miniature, and whether an answer to one is right; no torch
    loaded_model  weights, tokenizer, template and defaults of a checkpoint; asks it
    live_engine   requests for several models at once, live: submitted, streamed, cancelled, scored
    chat_settings, conversation  a conversation that a program leads: its settings, turns and answers
    thought_stream  a response split into thought and content while it arrives; no torch

Not here: training (`stages`), and scores over problem sets (`stages.evaluate`).
"""

from dianoia.base.thread_variables import let_idle_threads_sleep

# Before PyTorch is imported, which every module that answers questions does.
let_idle_threads_sleep()
