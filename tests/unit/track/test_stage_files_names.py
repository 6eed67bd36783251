import pytest

from dianoia.track.stage_files import tracked_name, tracked_numbers


@pytest.mark.parametrize(
    ("name", "tracked"),
    [
        ("reward", "train/reward"),
        ("completions/mean_length", "train/completions/mean_length"),
        ("eval_loss", "eval/loss"),
        ("heldout/rewards/helpful/mean", "eval/rewards/helpful/mean"),
        ("tokens", "train/num_tokens"),
        ("step_seconds", "train/step_time"),
    ],
)
def test_names_are_those_of_trl(name: str, tracked: str) -> None:
    assert tracked_name(name) == tracked


def test_only_what_was_measured_is_a_number() -> None:
    row = {"step": 3, "reward": 0.5, "kl": None, "code/passed": 2, "note": "text", "flag": True}
    assert tracked_numbers(row) == {"train/reward": 0.5, "train/code/passed": 2}
