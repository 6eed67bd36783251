"""Checkpoints' names as those of files: no two share one."""

import pytest

from dianoia.stages.evaluate import file_names


@pytest.mark.parametrize(
    ("checkpoints", "files"),
    [
        (["base", "zero"], ["base", "zero"]),
        (["Qwen/Qwen2.5-1.5B", "../old run/zero"], ["Qwen--Qwen2.5-1.5B", "old--run--zero"]),
        (["base", "./base", "../base/"], ["base", "base-2", "base--"]),
        (["./base", "base"], ["base", "base-2"]),
        (["base-2", "base", "./base"], ["base-2", "base", "base-3"]),
        (["base", "./base", "base-2"], ["base", "base-2", "base-2-2"]),
        (["Base", "base"], ["Base", "base-2"]),  # one file on macOS
        ([".", "/"], ["checkpoint", "checkpoint-2"]),
    ],
)
def test_every_checkpoint_has_a_file(checkpoints: list[str], files: list[str]) -> None:
    assert file_names(checkpoints) == dict(zip(checkpoints, files, strict=True))
