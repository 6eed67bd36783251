"""The functions of TRL and open-r1 that `test_trl.py` puts into a recipe, and what a model writes to be paid by them."""

_LINES = "<think>\nFirst, read it.\nNext, it is {0}.\n</think>\n<answer>\n\\boxed{{{0}}}\n</answer>"
FORMS = {
    "r1-zero": _LINES,
    "r1-zero-prefilled": _LINES,
    "r1": "<think>\nFirst, read it.\nNext, it is {0}.\n</think>\nThe answer is $\\boxed{{{0}}}$.",
    "plain": _LINES,
    "chat": _LINES,
    "thinking": _LINES,
}
"""A response with an answer per template: open-r1's form, or the summary of `r1`."""
THINKING = """
[templates.thinking]
chat = true
opens_thought = true
tags = ["<think>", "</think>", "<answer>", "</answer>"]
"""
CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}>\n{{ message.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)
"""The chat template of the model that `chat` and `thinking` start from."""
FUNCTIONS = {
    "trl_accuracy": ("trl.rewards.accuracy_reward", ""),
    "trl_reasoning_accuracy": ("trl.rewards.reasoning_accuracy_reward", ""),
    "trl_think_format": ("trl.rewards:think_format_reward", ""),
    "trl_cosine": ("trl.rewards.get_cosine_scaled_reward", "{ max_len = 60 }"),
    "trl_loops": ("trl.rewards.get_repetition_penalty_reward", "{ ngram_size = 2, max_penalty = -0.5 }"),
    "trl_overlong": (
        "trl.rewards.get_soft_overlong_punishment",
        "{ max_completion_len = 40, soft_punish_cache = 32 }",
    ),
    "r1_accuracy": ("open_r1.rewards.accuracy_reward", ""),
    "r1_format": ("open_r1.rewards:format_reward", ""),
    "r1_tags": ("open_r1.rewards.tag_count_reward", ""),
    "r1_steps": ("open_r1.rewards.reasoning_steps_reward", ""),
    "r1_len": ("open_r1.rewards.len_reward", ""),
    "r1_cosine": ("open_r1.rewards.get_cosine_scaled_reward", "{ max_len = 200 }"),
    "r1_loops": (
        "open_r1.rewards.get_repetition_penalty_reward",
        "{ ngram_size = 2, max_penalty = -1.0 }",
    ),
    "r1_code_format": ("open_r1.rewards.get_code_format_reward", '{ language = "python" }'),
    "r1_overlong": (
        "open_r1.rewards.get_soft_overlong_punishment",
        "{ max_completion_len = 40, soft_punish_cache = 32 }",
    ),
}  # fmt: skip
"""Name in the recipe -> path, and the arguments of a factory as TOML."""
TEXT_FUNCTIONS = {f"text_{name}": FUNCTIONS[name] for name in ("trl_loops", "trl_overlong")}
"""Functions that `form = "text"` suits too."""
WEIGHT = 0.25
"""Weight of each function."""
