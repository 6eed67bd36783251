"""`dianoia simulate`."""

import json
from pathlib import Path

import pytest

from dianoia.cli import main
from tests.unit.simulation.conftest import finished_run as finished_run

SHORT = [
    "--set",
    "zero.problems_per_rollout=16",
    "--set",
    "zero.sampling.max_tokens=1024",
    "--set",
    "zero.sampling.longer=[]",
]


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["simulate", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def table(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    return json.loads("\n".join(lines(capsys, *arguments, "--json")))  # type: ignore[no-any-return]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["simulate", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_a_line_per_number_of_devices(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--gpus", "1,4", "--for", "H100", "--staleness", "1", *SHORT)
    text = lines(capsys, "qwen-zero", *options)
    assert all(len(line) <= 80 for line in text)
    rows = [line.split() for line in text if line[:1].isdigit()]
    assert [row[0] for row in rows[:2]] == ["1", "4"] and "+" in rows[2][0]
    assert any(line.startswith(("Old weights are faster", "On each of these")) for line in text)
    numbers = table(capsys, "qwen-zero", *options)
    assert numbers["format"] == 1 and numbers["staleness"] == 1
    one, four = numbers["synchronous"]  # type: ignore[misc]
    assert rows[1][-1] == four["shard"] == "none" and one["efficiency"] == 1
    assert f"{four['total']:.1f}" in rows[1] or f"{four['total']:,.0f}" in rows[1]
    assert numbers["lengths"]["mean"] == pytest.approx(0.3 * 1024)  # type: ignore[index]


def test_lengths_and_times_of_a_run(capsys: pytest.CaptureFixture[str], finished_run: Path) -> None:
    run, one_thread = str(finished_run), ("--set", "threads=1")
    drawn = table(
        capsys, "miniature-zero", "--lengths", run, "--measured", f"{run}:zero", *one_thread
    )
    assert drawn["lengths"]["source"] == run and "between" not in drawn["lengths"]  # type: ignore[index, operator]
    (one,) = drawn["synchronous"]  # type: ignore[misc]
    # 30 microseconds per token, and five times as many: 512 responses of about 22 tokens
    tokens = 512 * drawn["lengths"]["mean"]  # type: ignore[index]
    assert one["sampling"] == pytest.approx(30e-6 * tokens, rel=0.25)
    assert one["updating"] == pytest.approx(150e-6 * tokens, rel=0.25)
    scaled = table(capsys, "miniature-zero", "--lengths", run, "--mean-length", "60")
    assert scaled["lengths"]["mean"] == pytest.approx(60)  # type: ignore[index]


def test_what_cannot_be_asked_is_refused_in_a_line(
    capsys: pytest.CaptureFixture[str], finished_run: Path
) -> None:
    for arguments, message in (
        (("qwen-zero", "--for", "H10O"), "no GPU of that name is known"),
        (("qwen-zero", "--stage", "one", "--for", "H100"), "--stage one: qwen-zero has no such rl stage"),
        (("qwen-zero", "--for", "H100", "--overlap"), "--overlap needs --staleness"),
        (("qwen-zero", "--for", "H100", "--staleness", "1"), "one device cannot sample while it learns"),
        (("qwen-zero", "--for", "H100", "--mean-length", "16384"), "no mean can reach the limit of 16,384"),
        (("qwen-zero", "--for", "H100", "--measured", str(finished_run)), "has times of this machine"),
        (("miniature-zero", "--gpus", "4096"), "--for H100"),
    ):  # fmt: skip
        assert message in refused(capsys, *arguments), arguments
    with pytest.raises(SystemExit):
        main(["simulate", "qwen-zero", "--gpus", "8,0"])
    assert "0 is too small" in capsys.readouterr().err
