"""The control of this example: a reward that knows nothing of the answer."""

import hashlib


def coin(completions: list[str], **columns: object) -> list[float]:
    """Pay 1 or 0, by a hash of the completion, for a completion of any form."""
    return [float(hashlib.sha256(text.encode()).digest()[0] & 1) for text in completions]
