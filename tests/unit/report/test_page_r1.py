"""The report of a whole R1: the graph of its recipe, its claims and its stage table, as a stranger reads them."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dianoia.claims import claims_of
from dianoia.claims.paper import STAGES, TABLE
from dianoia.report import run_reader
from dianoia.report.page import page
from dianoia.report.run_reader import load
from dianoia.report.sections.graph_layout import layout
from dianoia.report.sections.recipe_graph import nodes_and_edges, references
from dianoia.storage.run_directory import RunDirectory
from tests.unit.report.r1 import build_r1
from tests.unit.report.sections.test_graph_layout import lawful
from tests.unit.report.test_page import Page, edit


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return build_r1(tmp_path_factory.mktemp("r1"))


@pytest.fixture(scope="module")
def shown(whole: RunDirectory) -> Page:
    return Page(page(load(whole)))


@pytest.fixture
def fresh(tmp_path: Path) -> RunDirectory:
    return build_r1(tmp_path)


def read(run: RunDirectory) -> Page:
    return Page(page(load(run)))


# The graph ---------------------------------------------------------------------------------------


def test_who_starts_from_whom(whole: RunDirectory) -> None:
    nodes, edges = nodes_and_edges(load(whole))
    shapes = {node.name: node.shape for node in nodes}
    assert {(e.source, e.target) for e in edges if e.flow == "weights"} == {
        ("miniature-base", name) for name in ("zero", "dev1", "dev3", "helpful", "safety", "ppo", "ppo-095")
    } | {("dev1", "dev2"), ("dev3", "r1"), ("dev3", "overoptimized"),
         ("miniature-base-small", "distilled"), ("miniature-base-small", "small-zero")}  # fmt: skip
    assert {(e.source, e.target) for e in edges if e.flow == "data"} == {
        ("zero", "cold-start"), ("cold-start", "dev1"), ("dev2", "reasoning-data"), ("pairs.jsonl", "helpful"),
        ("labels.jsonl", "safety"), ("reasoning-data", "dev3"), ("general.jsonl", "dev3"),
        ("reasoning-data", "distilled"), ("general.jsonl", "distilled"),
    }  # fmt: skip
    assert {(e.source, e.target) for e in edges if e.flow == "reward"} == {
        (model, stage) for model in ("helpful", "safety") for stage in ("r1", "overoptimized")
    }
    assert (
        shapes["cold-start"] == shapes["general.jsonl"] == "data" and shapes["helpful"] == "reward"
    )
    assert shapes["miniature-base"] == shapes["r1"] == "model" and "evaluation" not in shapes
    lawful(layout([node.name for node in nodes], edges), [(e.source, e.target) for e in edges])


def test_boxes_say_what_was_made_and_measured(whole: RunDirectory) -> None:
    texts = {node.name: (node.origin, node.result) for node in nodes_and_edges(load(whole))[0]}
    assert texts["zero"] == ("GRPO, 40 steps", "reasoning 88.8\u00a0%")
    assert texts["ppo"] == ("PPO, 40 steps", "math 93.0\u00a0%")
    assert texts["dev1"][0] == "SFT, 2 epochs" and texts["cold-start"] == ("samples", "1,874 kept")
    assert texts["general.jsonl"] == ("file", "") and texts["overoptimized"][1] == ""


def test_names_of_algorithms_are_no_stages(fresh: RunDirectory) -> None:
    """A stage may be called like a value: the one called ppo is not what `algorithm.name` means."""
    settings = json.loads(fresh.recipe.read_text())["stages"]["ppo-095"]
    assert ("start", "miniature-base") in references(settings)
    assert "ppo" not in [text for _, text in references(settings)]


def test_every_box_of_a_stage_leads_to_its_place(shown: Page, whole: RunDirectory) -> None:
    stages = json.loads(whole.recipe.read_text())["stages"]
    links = {f"#stage-{name}" for name, stage in stages.items() if stage["kind"] != "evaluate"}
    assert links <= set(shown.addresses)
    assert {address[1:] for address in shown.addresses} <= set(shown.ids)
    assert len(shown.ids) == len(set(shown.ids)), "an id stands twice"


def test_a_kind_that_this_page_does_not_know_is_drawn(fresh: RunDirectory) -> None:
    stage = {"kind": "demonstrations", "start": "dev2", "prompts": 3}
    edit(fresh.recipe, lambda r: r["stages"].update({"written": stage, "dev9": {"kind": "sft", "start": "dev3", "datasets": [{"path": "written"}]}}))  # fmt: skip
    _, edges = nodes_and_edges(load(fresh))
    assert {(e.source, e.target, e.flow) for e in edges if "written" in (e.source, e.target)} == {
        ("dev2", "written", "data"), ("written", "dev9", "data"),
    }  # fmt: skip
    shown = read(fresh)
    assert "stage-written" in shown.ids and {a[1:] for a in shown.addresses} <= set(shown.ids)


def test_planned_stages_are_marked(fresh: RunDirectory) -> None:
    for name in ("r1", "overoptimized"):
        for path in sorted(fresh.stage(name).path.iterdir()):
            path.unlink()
        fresh.stage(name).path.rmdir()
    node = next(n for n in nodes_and_edges(load(fresh))[0] if n.name == "r1")
    assert node.state == "planned" and node.origin == "GRPO, 40 steps, to do"


def test_hostile_names_stay_names(
    fresh: RunDirectory, hostile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename(recipe: dict[str, Any]) -> None:
        recipe["stages"] = {hostile: recipe["stages"]["zero"], "next": {"kind": "sft", "start": hostile, "datasets": [{"path": hostile + ".jsonl"}]}}  # fmt: skip

    tables = claims_of(fresh)
    tables["claims"][0].update(dict.fromkeys(("title", "rule", "paper", "why"), hostile))
    tables["claims"][0]["values"][0].update(what=hostile, needs=hostile, note=hostile)
    tables["stage_table"][0].update(checkpoint=hostile, parts=[hostile])
    monkeypatch.setattr(run_reader, "claims_of", lambda _: tables)
    edit(fresh.recipe, rename)
    shown = read(fresh)
    assert shown.handlers == [] and "img" not in shown.tags and shown.programs == 4
    assert {a[1:] for a in shown.addresses} <= set(shown.ids)


# Claims and stages -------------------------------------------------------------------------------


def test_the_summary_counts_the_claims(shown: Page) -> None:
    assert "11 of 12 claims of the paper hold ." in shown.sections["summary"]
    links = [address for address in shown.addresses if address.startswith("#claim-")]
    assert links == [f"#claim-{number}" for number in range(1, 13)]
    assert "pass@1 on 256 held-out math problems" in shown.sections["summary"]


def test_a_claim_shows_all_that_results_say_of_it(shown: Page, whole: RunDirectory) -> None:
    claims = claims_of(whole)["claims"]
    section = shown.sections["claims"]
    assert section.count("✓ holds") == 11 and section.count("✗ does not hold") == 1
    for claim in claims:
        texts = [f"{claim['number']}. {claim['title']}", claim["rule"], claim["paper"]]
        texts += [text for value in claim["values"] for text in (value["what"], value["needs"])]
        for text in texts:
            assert re.sub(r"-(?=\d)", "−", text) in section or text in section, text
    assert "5.94 times" in section and "4.61 to 8.33" in section


def test_a_claim_without_measurement_is_marked(
    fresh: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "not measured in this recipe: [claims] names no ppo"
    tables = claims_of(fresh)
    tables["claims"][10].update(holds=None, values=[], why=reason)
    tables["claims"][11].update(holds=None)
    tables["claims"][11]["values"][0].update(holds=None, value=None)
    monkeypatch.setattr(run_reader, "claims_of", lambda _: tables)
    page = read(fresh)
    assert "9 of 10 claims" in page.sections["summary"]
    section = page.sections["claims"]
    assert section.count("– not measured") == 2 and reason in section
    value = tables["claims"][11]["values"][0]
    assert f"– {value['what']}: –" in section


def test_the_stage_table_has_the_papers_table_beside_it(shown: Page) -> None:
    section = shown.sections["stages"]
    assert "Base miniature-base R1-Zero Dev1 Dev2 Dev3 R1" in section
    assert "reasoning 16.0 % 13.7 to 18.3 cons@16 19.0 % 88.8 % 86.8 to 90.7 cons@16 91." in section
    assert "AIME 2024 77.9 59.0 74.0 78.1 79.8" in section
    assert "Distilled Small base miniature-base-small Small Zero small-zero" in section


def test_the_checkpoint_table_says_how_many_problems_and_what_one_answer_is_worth(
    fresh: RunDirectory,
) -> None:
    def measure(evaluation: dict[str, Any]) -> None:
        for name, metrics in evaluation["evaluations"].items():
            if "safety" not in metrics:
                continue
            baseline = 0.45 if name == "zero" else 0.55
            metrics["safety"]["baseline"] = {"value": baseline, "low": 0.4, "high": 0.6, "n": 256}
        zero = evaluation["evaluations"].get("zero", {}).get("safety", {})
        zero.update({"pass@1": {"value": 0.5, "low": 0.44, "high": 0.56, "n": 500}})

    for table in (
        fresh.results,
        fresh.stage("evaluation-zero").evaluation,
        fresh.stage("evaluation").evaluation,
    ):
        edit(table, measure)
    # Only R1 is clearly above the baseline; R1-Zero had other problems, and other ones have another baseline.
    row = "safety 5.0 % ° 2.3 to 7.7 cons@16 8.0 % 50.0 % ° 44.0 to 56.0, n = 500 cons@16 11.0 % 10.0 % ° 6.2 to 13.8"
    section = read(fresh).sections["stages"]
    assert row in section
    assert "97.0 % 94.9 to 99.1 cons@16 100.0 % 55.0 % 256" in section
    assert "°: not clearly above the baseline" in section


def test_claims_are_one_line_each_and_open(shown: Page, whole: RunDirectory) -> None:
    claims = claims_of(whole)["claims"]
    several = [c for c in claims if len(c["values"]) > 1]
    met = [sum(v["holds"] is True for v in c["values"]) for c in several]
    section = shown.sections["claims"]
    for claim, count in zip(several, met, strict=True):
        line = f"{claim['number']}. {claim['title']} {count} of {len(claim['values'])} comparisons"
        assert line in section
    assert shown.tags.count("dl") >= len(claims)


def test_a_phone_gets_the_graph_as_a_list(shown: Page) -> None:
    section = shown.sections["recipe"]
    assert "dev1 SFT, 2 epochs from miniature-base, cold-start" in section
    assert section.count("cold-start to dev1") == 2, "to the right and downwards"


def test_without_claims_there_are_no_such_sections(make_run: Callable[..., RunDirectory]) -> None:
    shown = read(make_run(problems=1))
    assert not {"claims", "stages"} & set(shown.ids) and "recipe" in shown.ids
    assert "miniature-base" in shown.text and "#claims" not in shown.addresses


def test_the_papers_table_has_every_row() -> None:
    rows = [values for group in TABLE.values() for values in group.values()]
    assert len(rows) == 21 and {len(values) for values in rows} == {len(STAGES)}
