"""Rewards of this example. Called as TRL calls reward functions: lists of the batch by keyword, a list of floats out."""


def short(completion_ids: list[list[int]], **columns: object) -> list[float]:
    """Pay from 1 for an empty completion down to 0 for one of 100 tokens or more."""
    return [max(0.0, 1 - len(ids) / 100) for ids in completion_ids]
