"""What several commands print."""

import json
from typing import Any


def print_json(value: Any) -> None:
    """Print a value as indented JSON, characters of all languages as they are."""
    print(json.dumps(value, ensure_ascii=False, indent=2))
