"""Files of a real run that are cut, changed by a bit or blanked: named in one line, never used, and a report of the rest."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dianoia.cli import main
from tests.smoke.killing import arguments, assert_same, kill
from tests.smoke.moments import Moment


def flipped(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    return bytes(changed)


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "flipped": flipped,
    "cut": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(64) + content[64:],
    "empty": lambda _: b"",
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, whole_zero: tuple[Path, Path]
) -> tuple[Path, Path, Path]:
    """A recipe, its run, and one that was killed after a state."""
    (recipe, whole), half = whole_zero, tmp_path_factory.mktemp("runs") / "half"
    kill(arguments(recipe, half), Moment("zero/metrics.jsonl", 5, "open"))
    return recipe, whole, half


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize(
    "name",
    ["run.json", "recipe.json", "stages/zero/begun.json", "stages/zero/state/at.json",
     "stages/zero/state/state.pt", "stages/zero/state/SHA256SUMS"],
)  # fmt: skip
def test_what_a_resume_reads(
    name: str,
    change: Callable[[bytes], bytes],
    runs: tuple[Path, Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe, _, half = runs
    run = tmp_path / "run"
    shutil.copytree(half, run)
    (run / name).write_bytes(change((run / name).read_bytes()))
    assert main(arguments(recipe, run)) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith("dianoia: ") and stderr.count("\n") == 1
    assert "remove" in stderr and str((run / name).parent) in stderr
    assert main(["report", str(run)]) == 0 and (run / "report.html").exists()


@pytest.mark.parametrize("remove", ["run.json", "recipe.json", "stages/zero/state"])
def test_what_the_message_says_helps(
    remove: str, runs: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    recipe, whole, half = runs
    run = tmp_path / "run"
    shutil.copytree(half, run)
    file = run / remove if remove.endswith("json") else run / remove / "state.pt"
    file.write_bytes(flipped(file.read_bytes()))
    assert main(arguments(recipe, run)) == 2
    (shutil.rmtree if (run / remove).is_dir() else Path.unlink)(run / remove)
    assert main(arguments(recipe, run)) == 0
    assert_same(run, whole)


def test_a_row_before_the_state_that_changed_is_told(
    runs: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It decides nothing that is learnt, so the stage goes on."""
    recipe, whole, half = runs
    run = tmp_path / "run"
    shutil.copytree(half, run)
    journal = run / "stages/zero/metrics.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"step": 1,', b'"step": 1, "x": 3,'))
    assert main(arguments(recipe, run)) == 0
    assert "a row before the state was lost, changed or damaged" in capsys.readouterr().out
    weights = "stages/zero/checkpoint/model.safetensors"
    assert (run / weights).read_bytes() == (whole / weights).read_bytes()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_checkpoint_that_changed_is_not_evaluated(
    name: str, runs: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, whole, _ = runs
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    shutil.rmtree(run / "stages/evaluation")
    file = run / "stages/zero/checkpoint" / name
    file.write_bytes(flipped(file.read_bytes()))
    assert main(arguments(recipe, run)) == 2
    stderr = capsys.readouterr().err
    assert str(file) in stderr and "manifest.json" in stderr and "'zero'" in stderr
    (run / "stages/zero/manifest.json").unlink()
    assert main(arguments(recipe, run)) == 0
    assert_same(run, whole)


@pytest.mark.parametrize(
    "name",
    ["stages/evaluation/evaluation.json", "stages/zero/metrics.jsonl",
     "stages/zero/manifest.json", "stages/zero/rollouts/step-00000.parquet", "results.json", "recipe.json"],
)  # fmt: skip
def test_a_report_says_what_it_could_not_read(
    name: str, runs: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, whole, _ = runs
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / name).write_bytes(flipped((run / name).read_bytes()))
    assert main(["report", str(run)]) == 0
    stderr, page = capsys.readouterr().err, (run / "report.html").read_text(encoding="utf-8")
    assert "could not be read" in stderr and str(run / name) in stderr
    assert "Some files of this run could not be read" in page
    assert "zero" in page
