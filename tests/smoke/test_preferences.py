"""Preferences with the real command: sampled, judged, resumed, learnt by a reward model."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest

from dianoia.base.preference_records import Comparison
from dianoia.base.records import Problem
from dianoia.cli import main
from dianoia.datasets import preference_builder as comparer
from dianoia.stages import preferences
from dianoia.tasks.plugins import PREFERENCE_RULES, PreferenceRules

RECIPE = """
name = "pairs"
threads = 1
[stages.pairs]
kind = "preferences"
starts = ["miniature-base", "miniature-base-small"]
problems = "miniature/math"
prompts = 10
samples = 2
pairs_per_problem = 2
problems_per_batch = 4
judge = "miniature"
[stages.pairs.sampling]
max_tokens = 48
slots = 32
"""
LEARN = """
[stages.helpful]
kind = "reward_model"
start = "{base}"
data = ["pairs"]
heldout_share = 0.3
samples_per_step = 8
[stages.helpful.optimizer]
learning_rate = 1e-2
"""
FILES = ("data.parquet", "rejected.parquet")


class Digits:
    """Prefers the answer with more digits; a response with a 7 in it is unsafe."""

    def compare(self, problem: Problem, first_answer: str, second_answer: str) -> str | None:
        first, second = (sum(map(str.isdigit, text)) for text in (first_answer, second_answer))
        return "A>>B" if first > second else "B>>A" if second > first else "A=B"

    def is_safe(self, problem: Problem, response: str) -> bool | None:
        return "7" not in response


def _register(patched: pytest.MonkeyPatch) -> None:
    """Have `Digits` judge as "miniature"."""
    domains = dict.fromkeys(("pairwise", "pointwise"), frozenset({"math"}))
    patched.setitem(PREFERENCE_RULES, "miniature", PreferenceRules(Digits, domains))


@pytest.fixture(autouse=True)
def _rules(monkeypatch: pytest.MonkeyPatch) -> None:
    _register(monkeypatch)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def run(recipe: Path, out: Path, *overrides: str) -> int:
    options = [part for override in overrides for part in ("--set", override)]
    return main(["run", str(recipe), "--out", str(out), *options])


def table(out: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "stages/pairs" / name).to_pylist()
    return rows


def counts(out: Path) -> dict[str, Any]:
    file = out / "stages/pairs/preferences.json"
    document: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return {key: value for key, value in document.items() if key != "seconds"}


def check_sums(out: Path) -> dict[str, Any]:
    """Every response is kept or left out, by every name it is counted under."""
    result, rows, rejected = counts(out), table(out, FILES[0]), table(out, FILES[1])
    for totals in (result, *result["by_checkpoint"].values(), *result["by_domain"].values()):
        assert totals["sampled"] == totals["kept"] + sum(totals["left_out"].values())
    for key in ("sampled", "kept"):
        for by in ("by_checkpoint", "by_domain"):
            assert result[key] == sum(totals[key] for totals in result[by].values())
    assert result["rows"] == len(rows) and len(rejected) == sum(result["left_out"].values())
    assert {row["reason"] for row in rejected} == set(result["left_out"])
    return result


def test_pairs_are_made_and_learnt(recipe: Path, tmp_path: Path, tiny_base: Path) -> None:
    out = tmp_path / "run"
    learn = LEARN.replace("{base}", tiny_base.as_posix())
    recipe.write_text(recipe.read_text(encoding="utf-8") + learn, encoding="utf-8")
    options = ("pairs.prompts=40", "helpful.pairs.balance_lengths=false")
    assert run(recipe, out, *options) == 0
    result, rows = check_sums(out), table(out, FILES[0])
    assert result["sampled"] == 160 and result["problems"] == 40
    assert sum(result["verdicts"].values()) + result["verdicts_unreadable"] == 4 * len(rows)
    assert result["labels"] == {}
    for row in rows:
        finals = [text.rpartition("<answer>")[2] for text in row["responses"]]
        assert finals[0] != finals[1], "nobody compares an answer with itself"
        a, b = (sum(map(str.isdigit, text)) for text in finals)
        better = ["A>>B", "B>>A"] if a > b else ["B>>A", "A>>B"] if b > a else ["A=B"] * 2
        assert row["verdicts"] == better * 2, "every other verdict has the other order"
        assert len(set(zip(row["checkpoints"], row["samples"], strict=True))) == 2
        assert set(row["checkpoints"]) <= set(result["by_checkpoint"])
    data = json.loads((out / "stages/helpful/evaluation.json").read_text("utf-8"))["data"]
    assert data["rows"] == len(rows) and data["train"] + data["heldout"] > 10
    assert data["rows"] == data["train"] + data["heldout"] + sum(data["left_out"].values())
    assert not (out / "stages/pairs/state").exists()
    assert not (out / "stages/pairs/checkpoint").exists()
    assert main(["report", str(out)]) == 0
    assert "in place of human annotators" in (out / "report.html").read_text("utf-8")


def test_labels(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run(recipe, out, "pairs.objective=pointwise", "pairs.pairs_per_problem=1") == 0
    result, rows = check_sums(out), table(out, FILES[0])
    assert result["kept"] == result["rows"] == sum(result["labels"].values())
    assert result["verdicts"] == {} and 0 < result["labels"]["safe"] < result["rows"]
    assert all(row["label"] is ("7" not in row["response"]) for row in rows)


def test_one_seed_is_one_data_set(whole: Path, recipe: Path, tmp_path: Path) -> None:
    other = ("pairs.problems_per_batch=10", "pairs.sampling.slots=3")
    assert run(recipe, tmp_path / "b", *other) == 0
    for name in FILES:
        assert table(whole, name) == table(tmp_path / "b", name)
    assert counts(whole) == counts(tmp_path / "b")
    assert run(recipe, tmp_path / "c", "seed=2") == 0
    assert table(whole, FILES[0]) != table(tmp_path / "c", FILES[0])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped; for reading only."""
    folder = tmp_path_factory.mktemp("whole")
    path = folder / "pairs.toml"
    path.write_text(RECIPE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        _register(patched)
        assert run(path, folder / "run") == 0
    return folder / "run"


@pytest.mark.parametrize(("position", "files"), [(0, 0), (1, 1), (4, 4), (6, 6), (8, 10), (9, 12)])
def test_going_on_is_as_if_never_stopped(
    position: int,
    files: int,
    whole: Path,
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two checkpoints and a judge, three batches each: nine pieces of work, then the end."""
    done: list[str] = []
    write, judge = preferences.write_responses, comparer.PreferenceBuilder.__call__
    finish = preferences._finish

    def stop(where: str) -> None:
        if len(done) == position:
            raise KeyboardInterrupt
        done.append(where)

    def writing(path: Path, *options: Any) -> None:
        if path.name.startswith("sampled"):
            stop(path.name)
        write(path, *options)

    def judging(self: Any, problems: Any, responses: Any) -> Any:
        stop("judged")
        return judge(self, problems, responses)

    def finishing(*options: Any) -> None:
        stop("end")
        finish(*options)

    with monkeypatch.context() as patched:
        patched.setattr(preferences, "write_responses", writing)
        patched.setattr(comparer.PreferenceBuilder, "__call__", judging)
        patched.setattr(preferences, "_finish", finishing)
        assert run(recipe, tmp_path / "cut") == 130
    folder = tmp_path / "cut/stages/pairs"
    assert len(list(folder.glob("state/*.parquet"))) == files
    assert not any((folder / name).exists() for name in (*FILES, "preferences.json"))
    position = -1  # never stop again, count what is left
    remaining = 9 - len(done)
    done.clear()
    monkeypatch.setattr(preferences, "write_responses", writing)
    monkeypatch.setattr(comparer.PreferenceBuilder, "__call__", judging)
    assert run(recipe, tmp_path / "cut") == 0
    assert len(done) == remaining
    for name in FILES:
        first, other = (out / "stages/pairs" / name for out in (whole, tmp_path / "cut"))
        assert first.read_bytes() == other.read_bytes()
    assert counts(whole) == counts(tmp_path / "cut")


class Model(BaseHTTPRequestHandler):
    """Prefers A, whoever that is; calls everything safe but "5"; fails at every third request, but no text twice."""

    count = 0
    failed: ClassVar[set[str]] = set()
    bodies: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = body["messages"][0]["content"]
        Model.count += 1
        fails = Model.count % 3 == 0 and content not in Model.failed
        if fails:
            Model.failed.add(content)
        else:
            Model.bodies.append(content)
        response = content.rpartition("# Response\n")[2]
        text = "[[A>B]]" if "[[A>>B]]" in content else f"[[{'un' * ('5' in response)}safe]]"
        reply = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
        data = json.dumps(reply).encode()
        self.send_response(503 if fails else 200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After", "0.01")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Model.bodies.clear()
    Model.failed.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def test_a_model_compares_each_pair_four_times(url: str, recipe: Path, tmp_path: Path) -> None:
    judge = f'pairs.judge={{url="{url}", model="m", concurrency=2}}'
    assert run(recipe, tmp_path / "run", judge) == 0
    check_sums(tmp_path / "run")
    rows = table(tmp_path / "run", FILES[0])
    assert rows and all(row["verdicts"] == ["A>B"] * 4 for row in rows)
    assert len(Model.bodies) == 4 * len(rows), "each verdict is a request of its own"
    assert len(set(Model.bodies)) == 2 * len(rows), "in two orders"


def test_a_model_labels_by_a_guideline(url: str, recipe: Path, tmp_path: Path) -> None:
    rules, out = tmp_path / "rules.txt", tmp_path / "run"
    rules.write_text("No fives.", encoding="utf-8")
    options = [f'pairs.judge={{url="{url}", model="m"}}', f"pairs.guideline={rules}"]
    options += ["pairs.objective=pointwise", "pairs.pairs_per_problem=1"]
    assert run(recipe, out, *options) == 0
    check_sums(out)
    assert all("# Guideline\nNo fives.\n" in content for content in Model.bodies)
    assert all(row["label"] is ("5" not in row["response"]) for row in table(out, FILES[0]))


def test_one_by_one_asks_in_order() -> None:
    problem = Problem("p", "?", "-", "reference")
    judge = comparer.OneAtATime(Digits())
    comparisons = [
        Comparison(problem, "1", ""),
        Comparison(problem, "", "12"),
        Comparison(problem, "", ""),
    ]
    assert judge.compare(comparisons) == ["A>>B", "B>>A", "A=B"]
    assert judge.are_safe([(problem, "7"), (problem, "8")]) == [False, True]
