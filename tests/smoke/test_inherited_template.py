"""A checkpoint says under which template it was trained, and another recipe asks it in the same way."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from dianoia.cli import main

RECIPE = """
name = "another"

[stages.evaluation]
kind = "evaluate"
checkpoints = ["CHECKPOINT"]
problems = "miniature/math"
limit = 2
samples = 2
max_tokens = 8
"""


def test_another_recipe_takes_the_template_from_the_checkpoint(
    tiny_zero: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ["run", str(tiny_zero), "--out", str(tmp_path / "first")]
    assert main([*first, "--set", "zero.template=r1-prefilled", "--only", "zero"]) == 0
    checkpoint = tmp_path / "first/stages/zero/checkpoint"
    config = json.loads((checkpoint / "config.json").read_text())
    assert config["dianoia_template"] == "r1-prefilled"
    messages = [{"role": "user", "content": "2+3?"}]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert text == "User: 2+3?\nAssistant: <think>"

    recipe = tmp_path / "another.toml"
    recipe.write_text(RECIPE.replace("CHECKPOINT", checkpoint.as_posix()))
    second = ["run", str(recipe), "--out", str(tmp_path / "second")]
    capsys.readouterr()
    assert main([*second, "--dry-run"]) == 0
    plan = " ".join(capsys.readouterr().out.split())
    assert f"template r1-prefilled, from the checkpoint {checkpoint.as_posix()}" in plan
    assert main(second) == 0
    assert "was trained under" not in capsys.readouterr().out
    resolved = json.loads((tmp_path / "second/recipe.json").read_text())
    assert resolved["stages"]["evaluation"]["template"] == "r1-prefilled"

    # The recipe has the last word, and the stage runs again, since its prompts are others.
    assert main([*second, "--set", "evaluation.template=plain"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "asks under the template 'plain', and the checkpoint was trained under 'r1-prefilled'"
        in said
    )

    # Training under another template hardly ever keeps the form, and says why.
    (source := tmp_path / "third.toml").write_text(
        tiny_zero.read_text().partition("[stages.evaluation]")[0]
    )
    third = ["run", str(source), "--out", str(tmp_path / "third")]
    changes = [f"zero.start={checkpoint.as_posix()}", "zero.template=r1", "zero.steps=6"]
    options = [part for change in changes for part in ("--set", change)]
    assert main([*third, *options]) == 0
    rows = (tmp_path / "third/stages/zero/diagnoses.jsonl").read_text().splitlines()
    advice = {row["code"]: row["advice"] for row in map(json.loads, rows)}
    assert "trained under the template 'r1-prefilled'" in advice["format_never_met"]
