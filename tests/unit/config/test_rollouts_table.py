"""The `rollouts` table: what it takes, and what a stage with it has to have."""

from typing import Any

import pytest
from pydantic import ValidationError

from dianoia.config import RLStage
from dianoia.config.rollouts_table import RolloutSettings

SERVED = {"engine": "vllm", "servers": ["http://10.0.0.2:8000"]}
STAGE: dict[str, Any] = {
    "kind": "rl",
    "start": "miniature-base",
    "problems": "miniature/math",
    "steps": 2,
    "optimizer": {"learning_rate": 1e-4},
}


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"servers": ["http://a:1"]}, "servers belongs to servers, and engine = \"native\" has none"),
        ({"engine": "vllm"}, "names no servers; set one of"),
        ({**SERVED, "python": "v"}, "servers and python are set"),
        ({**SERVED, "devices": ["1"]}, "run already; remove them"),
        ({"engine": "vllm", "python": "v", "count": 2, "devices": ["1"]}, "1 entries and count = 2"),
        ({"engine": "vllm", "servers": ["10.0.0.2:8000"]}, "no address of a server"),
        ({"engine": "vllm", "servers": ["http://k@h:1"]}, "no address of a server"),
        ({"engine": "vllm", "servers": ["http://a:1/", "http://a:1"]}, "stands there twice"),
        ({"engine": "vllm", "command": ["serve", "{model}"]}, "command has no {port}"),
        ({"engine": "vllm", "command": ["s", "{model}", "{port}"], "arguments": ["-x"]}, "write those of command"),
        ({"staleness": 17}, "less than or equal to 16"),
        ({**SERVED, "timeout": 0.0}, "greater than 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(table: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        RolloutSettings(**table)


@pytest.mark.parametrize(
    ("rollouts", "sampling", "cap", "reason"),
    [
        (SERVED, {}, None, 'engine = "vllm": a server.*set algorithm.importance_cap'),
        ({"staleness": 1}, {}, None, "staleness = 1: rollouts are drawn with older weights.*importance_cap"),
        (SERVED, {"top_p": 0.9}, 2.0, "sampling.top_p = 0.9.*over the tokens that are kept"),
        (SERVED, {"top_k": 40}, 2.0, "sampling.top_k = 40.*over the tokens that are kept"),
        (SERVED, {}, 2.0, None),
        ({"staleness": 2}, {"top_p": 0.9}, 2.0, None),
        ({}, {"top_p": 0.9}, None, None),
    ],
)  # fmt: skip
def test_a_stage_corrects_for_servers_and_old_weights(
    rollouts: dict[str, Any], sampling: dict[str, Any], cap: float | None, reason: str | None
) -> None:
    algorithm = {} if cap is None else {"importance_cap": cap}
    table = {
        **STAGE,
        "rollouts": rollouts,
        "algorithm": algorithm,
        "sampling": {"max_tokens": 8, **sampling},
    }
    if reason is None:
        assert RLStage(**table).rollouts.staleness == rollouts.get("staleness", 0)
        return
    with pytest.raises(ValidationError, match=f"(?s){reason}"):
        RLStage(**table)
