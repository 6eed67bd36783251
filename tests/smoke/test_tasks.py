"""`dianoia tasks` as a person types it, and a run over a `[data]` table, in memory and read as it goes."""

import json
from pathlib import Path

import pytest

from dianoia.base.files import read_json
from dianoia.cli import main
from dianoia.tasks import catalog
from tests.conftest import TINY_ZERO


def write(path: Path, count: int = 40, broken: int | None = None) -> Path:
    rows = [
        {"question": f"What is {n} + 1?", "answer": f"Add.\n#### {n + 1}"} for n in range(count)
    ]
    if broken is not None:
        rows[broken]["answer"] = "#### see above"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks"]) == 0
    out = capsys.readouterr().out
    assert "miniature/code: code" in out and "Ready mappings" in out
    assert main(["tasks", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert {"miniature/math", "miniature/all"} <= {row["name"] for row in table["sets"]}
    assert all(text in out for text in (*table["gym"][0].split("/")[1:], *table["verifiers"]))


def test_a_file_passes_or_fails_by_its_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = write(tmp_path / "good.jsonl"), write(tmp_path / "bad.jsonl", broken=6)
    assert main(["tasks", "check", str(good), "--mapping", "gsm8k"]) == 0
    assert f"{good}: 40 right" in capsys.readouterr().out
    assert main(["tasks", "check", str(good), str(bad), "--mapping", "gsm8k"]) == 1
    out = capsys.readouterr().out
    assert f"{bad}, row 7, column 'answer', value 'see above'" in out
    assert f"{bad}: 39 right, 1 unreadable" in out
    assert main(["tasks", "check", str(good), str(bad), "--mapping", "gsm8k", "--json"]) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert first["all_right"] and first["outcomes"] == {"right": 40} and not first["bad"]
    assert not second["all_right"] and second["outcomes"] == {"right": 39, "unreadable": 1}
    assert [row["row"] for row in second["bad"]] == [f"{bad}, row 7"] and second["domains"]


def test_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "check", "miniature/maths"]) == 2
    assert (
        "miniature/maths: this is not a built-in set (did you mean 'miniature/math'?). It"
        in capsys.readouterr().err
    )
    assert main(["tasks", "check", "no.jsonl"]) == 2
    assert "there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize("large", [False, True], ids=["in memory", "read as it goes"])
def test_a_recipe_over_a_table(
    large: bool, tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if large:
        monkeypatch.setattr(catalog, "LARGE", 0)
    file = write(tmp_path / "problems.jsonl", 200)
    tables = f'[data.mine]\npath = "{file.as_posix()}"\nmapping = "gsm8k"\n'
    text = TINY_ZERO.replace('"miniature/math"', '"mine"').replace("{base}", tiny_base.as_posix())
    recipe = tmp_path / "zero.toml"
    recipe.write_text(text + tables, encoding="utf-8")
    assert main(["tasks", "check", str(recipe)]) == 0
    capsys.readouterr()
    assert main(["run", str(recipe), "--out", str(tmp_path / "run")]) == 0
    stdout = capsys.readouterr().out
    assert ("200 rows, read during the run" if large else "held out, of 200 rows") in stdout
    results = read_json(tmp_path / "run" / "results.json")
    assert set(results["evaluations"]) == {tiny_base.as_posix(), "zero"}
    assert main(["report", str(tmp_path / "run")]) == 0
    page = next((tmp_path / "run").glob("*.html")).read_text(encoding="utf-8")
    assert f"<code>{file}</code>" in page


def test_tests_that_a_program_could_rule_fail_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {
        "question": "Area of a circle.",
        "tests": {"asserts": ["import math; assert area(1) == math.pi"]},
        "solution": "import math\ndef area(r): return math.pi * r * r",
    }
    ruled = good | {"solution": "import math\nmath.pi = 0\ndef area(r): return 0"}
    handed = good | {"tests": {"asserts": ["assert same(area(1), 3.14)"]}}
    file = tmp_path / "programs.jsonl"
    file.write_text(json.dumps(good), encoding="utf-8")
    assert main(["tasks", "check", str(file)]) == 0
    assert f"{file}: 1 right" in capsys.readouterr().out
    file.write_text("\n".join(map(json.dumps, (good, ruled, handed))), encoding="utf-8")
    assert main(["tasks", "check", str(file)]) == 1
    out = capsys.readouterr().out
    assert f"{file}, row 3: " in out and "would see the expected value" in out
    assert f"{file}: 1 right, 1 wrong, 1 unreadable" in out
