"""The report as a reader gets it: complete, self-contained, in order, and honest about what is missing."""

import base64
import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plotly.offline import get_plotlyjs

from dianoia.base.errors import ConfigError
from dianoia.report import write_report
from dianoia.report.figures import BLUE, ORANGE, TEAL
from dianoia.storage.run_directory import RunDirectory

MakeRun = Callable[..., RunDirectory]


VOID = {"meta", "link", "img", "br", "hr", "input"}
"""HTML elements without an end tag."""


class Page(HTMLParser):
    """The texts of a page, its data blocks, its programs and what its elements refer to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.section_words: dict[str, list[str]] = {}
        self.headings: list[str] = []
        self.data: dict[str, Any] = {}
        self.figures: list[dict[str, Any]] = []
        self.charts: list[str] = []
        """Titles of the charts, in the order of `figures`."""
        self.programs = 0
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.tags: list[str] = []
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()
        assert not self._open, f"not closed: {self._open}"
        self.text = joined(self.words)
        self.sections = {name: joined(words) for name, words in self.section_words.items()}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID and not self._is_drawing():
            self._open.append((tag, attributes))
        self.programs += tag == "script" and attributes.get("type") is None
        self.ids += [attributes["id"]] if attributes.get("id") else []
        self.addresses += [attributes[key] or "" for key in ("src", "href") if key in attributes]
        self.handlers += [key for key in attributes if key.startswith("on")]

    def _is_drawing(self) -> bool:
        """Tell whether an SVG is open; its elements may close themselves."""
        return any(tag == "svg" for tag, _ in self._open)

    def handle_endtag(self, tag: str) -> None:
        if self._is_drawing() and tag != "svg":
            return
        opened, _ = self._open.pop()
        assert opened == tag, f"<{opened}> is closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        tag, attributes = self._open[-1] if self._open else ("", {})
        if tag == "script" and attributes.get("type") == "application/json":
            assert "<" not in data, "a text could end its data block"
            self._add_data(attributes, json.loads(data))
        elif tag not in ("script", "style"):
            self.words.append(data)
            in_chart = any(a.get("class") == "chart" for t, a in self._open if t == "figure")
            self.charts += [data] if in_chart and re.fullmatch("h[3-5]", tag) else []
            self.headings += [data] if tag in ("h1", "h2", "h3", "h4", "h5") else []
            for name in [a.get("id") for t, a in self._open if t in ("section", "header")]:
                self.section_words.setdefault(name or "", []).append(data)

    def _add_data(self, attributes: dict[str, str | None], value: Any) -> None:
        if attributes.get("class") == "plot-data":
            self.figures.append(value)
        else:
            self.data[(attributes["id"] or "").removeprefix("data-")] = value

    def series(self) -> dict[str, dict[str, Any]]:
        """All series of the charts by name; of equal names the last."""
        return {trace["name"]: trace for figure in self.figures for trace in figure["data"]}


def joined(words: list[str]) -> str:
    return re.sub(r"\s+", " ", " ".join(words))


def read(run: RunDirectory) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def edit(path: Any, change: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(change(value) or value), encoding="utf-8")


def test_summary_says_what_was_trained_and_whether_it_worked(make_run: MakeRun) -> None:
    page = read(make_run())
    summary = page.sections["summary"]
    assert "miniature-zero" in page.headings and "Held-out cons@16" in page.headings
    assert "Accuracy rose clearly." in summary
    assert "From miniature-base to zero , pass@1 on 512 held-out problems" in summary
    assert "40 optimizer steps of 16 problems × 16 samples, reward = accuracy + format" in summary
    assert "seed 1 · 3 min 07 s" in summary


def test_sections_come_in_reading_order(make_run: MakeRun) -> None:
    sections = ["summary", "recipe", "curves", "evaluation", "rollouts", "diagnoses", "run"]
    page = read(make_run())
    assert list(page.sections) == sections
    skip, *navigation = page.addresses[: len(sections) + 1]
    assert skip == "#summary" and navigation == [f"#{section}" for section in sections]
    assert {address[1:] for address in page.addresses} <= set(page.ids)


def test_nothing_is_fetched(make_run: MakeRun) -> None:
    run = make_run()
    page = read(run)
    assert all(address.startswith("#") for address in page.addresses)
    assert "link" not in page.tags and "img" not in page.tags and "iframe" not in page.tags
    assert "default-src 'none'" in run.report.read_text(encoding="utf-8")


@pytest.mark.parametrize("stages", [("zero",), ("zero", "more")])
def test_every_chart_is_a_figure_plotly_accepts(make_run: MakeRun, stages: tuple[str, ...]) -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects")
    page = read(make_run(stages=stages))
    for figure in page.figures:
        graph_objects.Figure(figure)
        assert figure["data"], "a chart without a series"
    assert len(page.figures) == page.tags.count("figure") - 2, (
        "all figures but the two drawings of the graph are charts"
    )
    # With several rl stages, a chart compares them.
    assert page.headings.count("Entropy") == len(stages) + (len(stages) > 1)


def test_headings_skip_no_level(make_run: MakeRun) -> None:
    page = read(make_run(stages=("zero", "more"), problems=1))
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_plotly_is_unpacked_to_the_text_that_the_policy_allows(make_run: MakeRun) -> None:
    html = write_report(make_run(problems=1)).read_text(encoding="utf-8")
    packed = re.search('id="plotly">([^<]*)<', html)
    assert packed is not None
    script = gzip.decompress(base64.b64decode(packed[1]))
    assert script.decode() == get_plotlyjs()
    assert base64.b64encode(hashlib.sha256(script).digest()).decode() in html


def test_stages_are_compared_and_each_keeps_its_colour(make_run: MakeRun) -> None:
    run = make_run(stages=("zero", "more", "most"), problems=1)
    file = run.stage("more").metrics
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    rows = [{key: value for key, value in row.items() if key != "entropy"} for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    page = read(run)
    compared = {
        heading: figure
        for heading, figure in zip(page.charts, page.figures, strict=True)
        if {trace["name"] for trace in figure["data"]} <= {"zero", "more", "most"}
    }
    assert list(compared) == [
        "Held-out accuracy", "Held-out thought length", "Reward", "Held-out reflection words", "Language", "Entropy",
    ]  # fmt: skip
    colours = [
        {trace["name"]: trace["line"]["color"] for trace in compared[chart]["data"]}
        for chart in ("Reward", "Entropy")
    ]
    assert colours[0] == {"zero": BLUE, "more": ORANGE, "most": TEAL}
    assert colours[1] == {"zero": BLUE, "most": TEAL}
    assert page.tags.count("details") > 3, "three stages and more are folded"


def test_curves_show_the_numbers_of_the_metrics(make_run: MakeRun) -> None:
    run = make_run()
    rows = [json.loads(line) for line in run.stage("zero").metrics.read_text().splitlines()]
    trace = read(run).series()["training pass@1"]
    recorded = [row for row in rows if "rewards/accuracy/mean" in row]
    assert trace["x"] == [row["step"] for row in recorded]
    assert trace["y"] == pytest.approx([row["rewards/accuracy/mean"] for row in recorded], rel=1e-4)


def test_each_trained_stage_has_a_heading(make_run: MakeRun) -> None:
    run = make_run()
    pretrain = {"kind": "pretrain", "corpus": "miniature", "tokens": 4096}
    edit(run.recipe, lambda r: r | {"stages": {"made": pretrain} | r["stages"]})
    run.stage("made").path.mkdir()
    rows = [{"step": s, "tokens": 2048 * s, "loss": 3 / s, "seconds": 0.1} for s in (1, 2)]
    run.stage("made").metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = read(run)
    assert page.headings.index("Stage made") < page.headings.index("Stage zero")
    assert page.series()["loss"]["y"] == [3.0, 1.5]
    sentence = page.sections["summary"].split("made", 1)[1].split("zero")[0]
    assert "4,096 tokens" in sentence and "finished after step 2" in sentence


def test_reward_models_have_curves_of_their_own(make_run: MakeRun) -> None:
    run = make_run()
    assert "Reward models" not in read(run).headings
    preferences = {
        "helpful": "helpful", "problems": "general.jsonl", "safety": None, "safety_problems": None,
        "from_step": 12, "share": 0.5,
    }  # fmt: skip
    edit(run.recipe, lambda r: r["stages"]["zero"].update(preferences=preferences))
    file = run.stage("zero").metrics
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["heldout/rewards/helpful/mean"] = 0.1 * row["step"]
        row["rewards/helpful/mean"] = row["rewards/helpful/min"] = row["frac_general"] = 0.5
        row["rewards/helpful/spread"] = row["rewards/accuracy/spread"] = 0.3
        row["code/passed"] = 7
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    page = read(run)
    headings = ("Reward models", "Held-out rewards", "General prompts", "Programs")
    assert set(headings) <= set(page.headings)
    summary = page.sections["summary"]
    for part in ("from step 12 on", "50%", "helpful on general.jsonl (helpful)"):
        assert part in summary, part
    series = page.series()
    assert series["helpful, held-out"]["y"][:3] == [0.0, 0.1, 0.2]
    assert series["passed"]["y"][0] == 7 and "safety" not in series


@pytest.mark.parametrize(
    ("missing", "section", "message"),
    [
        ("results.json", "summary", "No evaluation yet."),
        ("run.json", "run", "run.json is missing"),
        ("stages", "summary", "No results yet."),
        ("stages/zero", "curves", "has not recorded any step yet"),
        ("stages/zero/metrics.jsonl", "curves", "has not recorded any step yet"),
        ("stages/zero/diagnoses.jsonl", "diagnoses", "Nothing to report."),
        ("stages/zero/manifest.json", "summary", "Not finished after step 40"),
        ("stages/zero/rollouts", "rollouts", "no rollouts of a reinforcement learning stage"),
        ("stages/evaluation", "rollouts", "no rollouts of an evaluate stage"),
    ],
)
def test_the_page_says_what_is_missing(
    make_run: MakeRun, missing: str, section: str, message: str
) -> None:
    run = make_run()
    path = run.path / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if missing == "stages":
        run.results.unlink()
    assert message in read(run).sections[section]


def test_recipe_alone_is_enough(make_run: MakeRun) -> None:
    run = make_run()
    for path in (run.results, run.about):
        path.unlink()
    shutil.rmtree(run.path / "stages")
    assert "not started" in read(run).sections["run"]


def test_a_folder_that_is_no_run_is_refused(make_run: MakeRun) -> None:
    run = make_run()
    for content, reason in ((None, "no recipe.json"), ("{", "not JSON"), ("{}", "no stages")):
        run.recipe.unlink(missing_ok=True)
        if content is not None:
            run.recipe.write_text(content)
        with pytest.raises(ConfigError, match=f"is not a run directory: .*{reason}"):
            write_report(run)
        assert not run.report.exists()


def rewrite(path: Any, **values: Any) -> None:
    rows = [row | values for row in pq.read_table(path).to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_texts_of_models_stay_texts(make_run: MakeRun, hostile: str) -> None:
    run = make_run(problems=2)
    plain = read(run)
    edit(run.recipe, lambda r: r | {"name": hostile, "description": hostile})
    edit(run.about, lambda r: r | {"command": hostile, "platform": hostile})
    edit(run.results, lambda r: {**r, "evaluations": {hostile: {hostile: {hostile: {"value": 1}}}}})
    row = dict.fromkeys(("code", "message", "advice", "step"), hostile)
    run.stage("zero").diagnoses.write_text(json.dumps(row) + "\n")
    for stage in ("zero", "evaluation"):
        for path in run.stage(stage).rollout_files():
            rewrite(
                path,
                **dict.fromkeys(
                    ("question", "gold", "thought", "answer", "text", "fault"), hostile
                ),
            )
    page = read(run)
    assert hostile in page.words and page.handlers == [] and "img" not in page.tags
    assert page.programs == plain.programs
    assert page.data["heldout"]["problems"][0]["question"] == hostile


def test_a_lone_surrogate_does_not_cost_the_report(make_run: MakeRun) -> None:
    run = make_run(problems=1)
    run.stage("zero").diagnoses.write_text(
        '{"step": 1, "code": "x", "message": "\\ud800", "advice": ""}\n'
    )
    assert "Diagnoses" in read(run).headings


def test_numbers_that_are_none(make_run: MakeRun) -> None:
    run = make_run(problems=1)
    rows = [
        {"step": 0, "reward": None, "kl": "wrong", "entropy": True, "loss": 1.0},
        {"step": 1, "thought_tokens": None, "rewards/accuracy/mean": 0.5},
        {},
    ]
    lines = [json.dumps(row) for row in rows] + [
        '{"step": 2, "reward": NaN, "grad_norm": Infinity}',
        '{"cut',
    ]
    run.stage("zero").metrics.write_text("\n".join(lines))
    none = {"value": None, "low": None, "high": None, "n": 4}
    edit(run.results, lambda r: r["evaluations"]["zero"]["math"].update(format=none))
    for path in run.stage("evaluation").rollout_files():
        rewrite(
            path, difficulty=None, accuracy=None, format=None, thought=None, reward=float("nan")
        )
    page = read(run)
    heights = [trace["y"] for figure in page.figures for trace in figure["data"]]
    assert [0.5] in heights and all(isinstance(y, float | int) for ys in heights for y in ys)
    absent = page.sections["curves"].split("Not recorded in this run:")[1]
    assert "Reflection words" in absent and "Accuracy" not in absent
    assert page.data["heldout"]["problems"][0]["difficulty"] is None


def test_a_broken_rollout_file_is_passed_over(make_run: MakeRun) -> None:
    run = make_run(problems=2)
    run.stage("evaluation").rollouts("zero").write_bytes(b"not parquet")
    assert read(run).data["heldout"]["checkpoints"] == ["miniature-base"]


def test_a_thought_is_shown_without_the_blank_lines_around_it(make_run: MakeRun) -> None:
    run = make_run(problems=1)
    rewrite(run.stage("evaluation").rollouts("zero"), thought="\n \n", status="finished")
    problem = read(run).data["heldout"]["problems"][0]
    assert {s["thought"] for s in problem["samples"]["zero"]} == {""}
    assert "Step 40 of 40" in read(run).sections["curves"]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.95, 0.99, "Accuracy rose clearly."),
        (0.0, 0.05, "Accuracy fell clearly."),
        (0.1, 0.3, "Accuracy did not change clearly."),
    ],
)
def test_the_verdict_is_about_intervals(
    make_run: MakeRun, low: float, high: float, verdict: str
) -> None:
    run = make_run(problems=1)
    after = {"value": (low + high) / 2, "low": low, "high": high, "n": 512}
    edit(run.results, lambda r: r["evaluations"]["zero"]["math"].update({"pass@1": after}))
    assert verdict in read(run).sections["summary"]


def test_the_file_stays_small_enough_to_send(make_run: MakeRun) -> None:
    run = make_run(problems=80, stages=("zero", "more"))
    for stage in ("zero", "more", "evaluation"):
        for path in run.stage(stage).rollout_files():
            rewrite(path, thought="等 <wait> & check\n" * 500, status="finished")
    many = "".join(
        json.dumps({"step": s, "reward": s / 3, "entropy": 1 / (s + 1)}) + "\n"
        for s in range(5_000)
    )
    run.stage("zero").metrics.write_text(many)
    page = read(run)
    assert run.report.stat().st_size < 4_500_000
    assert page.data["heldout"]["of"] == 80 and page.data["heldout"]["problems"]
    assert "of the 80 held-out problems" in page.sections["rollouts"]
    assert all(len(t["x"]) <= 300 for f in page.figures for t in f["data"])


def test_needs_neither_torch_nor_a_stage() -> None:
    heavy = "[m for m in sys.modules if m.split('.')[0] in ('torch', 'transformers') or m.startswith(" \
        "('dianoia.stages', 'dianoia.learner', 'dianoia.sampler'))]"  # fmt: skip
    program = f"import sys, dianoia.report; print({heavy})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
