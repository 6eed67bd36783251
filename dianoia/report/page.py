"""Puts the report together.

In: a run directory. Out: `report.html` in it: one file with its styles, scripts, data and Plotly inside.
A content security policy lets only these scripts run and nothing reach the network, so that a text written
by a model stays a text.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from dianoia.base.files import write_text
from dianoia.report.figures import Chart, frame
from dianoia.report.html_values import anchor, code, duration, embed, escape, missing, paragraph
from dianoia.report.run_reader import Run, Stage, load, number
from dianoia.report.sections import claim_table as claims
from dianoia.report.sections import curves, evaluation, headline
from dianoia.report.sections import preference_data_table as preferences
from dianoia.report.sections import recipe_graph as graph
from dianoia.report.sections import reward_part_charts as parts
from dianoia.report.sections import rollout_examples as rollouts
from dianoia.report.sections import run as about
from dianoia.report.sections import sample_data_table as sampling
from dianoia.report.sections import stage_scores as stages
from dianoia.storage.run_directory import RunDirectory
from dianoia.text.reflection import PATTERN

_PLAIN = {
    "pretrain": curves.PRETRAIN,
    "sft": curves.SUPERVISED,
    "reward_model": curves.REWARD_MODEL,
}
"""Charts of the stages that do not sample."""
_UNFOLDED = 2
"""With more rl stages than this, the health of the optimization is folded away."""
_ASSETS = files("dianoia.report").joinpath("assets")


def write_report(run: RunDirectory, say: Callable[[str], object] = lambda _: None) -> Path:
    """Write RUN/report.html and return its path; `say` hears of each file that could not be read.

    Raises ConfigError if the folder is no run directory.
    """
    found = load(run)
    text = page(found)
    for sentence in found.damaged:
        say(sentence)
    # A lone surrogate, which JSON can hold and UTF-8 cannot, must not cost the report.
    write_text(run.report, text.encode("utf-8", "replace").decode("utf-8"))
    return run.report


def page(run: Run) -> str:
    """The whole page."""
    charts: list[Chart] = []
    heldout, training = rollouts.heldout(run), rollouts.training(run)
    scripts = [get_plotlyjs(), _asset("charts.js"), _asset("rollouts.js"), _asset("training.js")]
    return Template(_asset("report.html")).substitute(
        policy=_policy(scripts),
        title=escape(run.recipe.get("name", run.path.name)),
        style=_asset("style.css"),
        nav=_nav(run),
        header=headline.header(run) + about.damaged(run),
        cards=headline.cards(run),
        graph=_graph(run),
        claims=claims.section(run),
        stages=stages.section(run),
        curves=_curves(run, charts),
        evaluation=_evaluation(run, charts),
        sampling=sampling.section(run) + preferences.section(run),
        rollouts=_rollouts(heldout, training),
        diagnoses=about.diagnoses(run),
        about=about.about(run),
        charts=embed([chart.figure for chart in charts]),
        heldout=embed(heldout),
        training=embed(training),
        reflection=embed(PATTERN),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _nav(run: Run) -> str:
    """Links to the sections that there are."""
    named = {
        "summary": "Summary",
        "recipe": "Recipe",
        **({"claims": "Claims"} if run.claims else {}),
        **({"stages": "Stages"} if run.stage_table else {}),
        "curves": "Curves",
        "evaluation": "Evaluation",
        **({"data": "Data"} if run.of_kind("sample") else {}),
        "rollouts": "Rollouts",
        "diagnoses": "Diagnoses",
        "run": "This run",
    }
    return "".join(f'<a href="#{name}">{told}</a>' for name, told in named.items())


def _graph(run: Run) -> str:
    """The picture; the stages in words where the top of the page does not tell them."""
    drawn = graph.section(run)
    if len(run.stages) <= headline.FEW:
        return drawn
    return (
        f"{drawn}<details><summary>The stages in words</summary>{headline.facts_of(run)}</details>"
    )


def _asset(name: str) -> str:
    return _ASSETS.joinpath(name).read_text(encoding="utf-8")


def _policy(scripts: Sequence[str]) -> str:
    """Only these very scripts; styles inline, which Plotly needs; no network at all."""
    hashes = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _curves(run: Run, charts: list[Chart]) -> str:
    trained = [stage for stage in run.stages if stage.kind == "rl" or stage.kind in _PLAIN]
    if not trained:
        return missing("This recipe trains nothing, so there are no curves.")
    hint = paragraph("Drag over a chart to zoom; double-click to see all of it again.", "dim")
    fold = len(run.of_kind("rl")) > _UNFOLDED
    return hint + "".join(_stage_curves(stage, charts, fold) for stage in trained)


def _stage_curves(stage: Stage, charts: list[Chart], fold: bool) -> str:
    heading = f'<h3 id="{anchor(stage.name)}">Stage {escape(stage.name)}</h3>'
    if not stage.rows:
        return heading + missing("This stage has not written any step yet.")
    plain = _PLAIN.get(stage.kind)
    if plain is not None:
        return heading + _pace(stage) + _grid(curves.charts(stage, plain), charts)
    plans = (*curves.PAPER, *parts.plans(stage), *curves.PROGRAMS)
    paper = _grid(curves.charts(stage, plans), charts)
    paper += _preferences(stage, charts)
    health = _grid(curves.charts(stage, (*curves.HEALTH, *curves.VALUE)), charts)
    named = "Health of the optimization"
    folded = f"<details><summary>{named}</summary>{health}{_absent(stage)}</details>"
    plainly = f'<h3 class="minor">{named}</h3>{health}{_absent(stage)}'
    return heading + _pace(stage) + paper + (folded if fold else plainly)


def _preferences(stage: Stage, charts: list[Chart]) -> str:
    """Reward models beside the rules; empty for a stage without them."""
    drawn = curves.charts(stage, curves.PREFERENCES)
    return '<h3 class="minor">Reward models</h3>' + _grid(drawn, charts) if drawn else ""


def _pace(stage: Stage) -> str:
    """How far and how fast, in a line."""
    last = stage.rows[-1]
    planned = number(stage.settings.get("steps"))
    of = f" of {planned:,.0f}" if planned else ""
    told = [f"Step {stage.last_step or 0:,}{of}"]
    tokens = number(last.get("num_tokens") if stage.kind == "rl" else last.get("tokens"))
    if tokens is not None:
        told.append(f"{tokens:,.0f} tokens")
    told.append(f"took {duration(stage.seconds)}" if stage.done else "not finished")
    thinned = " Each point is the mean of several steps." if len(stage.rows) > 300 else ""
    return paragraph(f"{' · '.join(told)}.{thinned}", "dim")


def _absent(stage: Stage) -> str:
    names = curves.absent(stage, (*curves.PAPER, *curves.HEALTH))
    told = f"Not recorded in this run: {', '.join(names).lower()}."
    return missing(told) if names else ""


def _grid(drawn: Sequence[Chart], charts: list[Chart]) -> str:
    """Frames for the charts, which join the page's list of figures."""
    first = len(charts)
    charts.extend(drawn)
    return f'<div class="grid">{"".join(frame(c, first + i) for i, c in enumerate(drawn))}</div>'


def _evaluation(run: Run, charts: list[Chart]) -> str:
    by_difficulty = evaluation.difficulty_charts(run)
    pairs = f'<div class="pairs">{_grid(by_difficulty, charts)}</div>' if by_difficulty else ""
    return evaluation.table(run) + pairs


def _rollouts(heldout: rollouts.Table, training: rollouts.Table) -> str:
    return (
        f"<h3>Held-out problems, before and after</h3>{_heldout(heldout)}"
        f"<h3>Groups in training</h3>{_training(training)}"
    )


def _heldout(table: rollouts.Table) -> str:
    shown, of = len(table["problems"]), table["of"]
    if not shown:
        return missing("No rollouts of an evaluate stage are there to read.")
    names = ", ".join(code(name) for name in table["checkpoints"])
    kept = f"{shown} of the {of}" if shown < of else f"the {of}"
    return (
        paragraph(
            f"{kept.capitalize()} held-out problems that were kept, with up to {rollouts.SAMPLES} samples by "
            f"{names}. They are not chosen by outcome. <mark>Marked</mark> words are those counted as reflection.",
        )
        + '<div id="heldout" class="viewer"></div>'
    )


def _training(table: rollouts.Table) -> str:
    if not table["stages"]:
        return missing("No rollouts of a reinforcement learning stage are there to read.")
    return (
        paragraph(
            "What the algorithm saw: all samples of one problem. The advantage is the reward relative to the "
            "group; samples above 0 are made likelier, those below 0 less likely. Groups whose rewards differ "
            "come first.",
        )
        + '<div id="training" class="viewer"></div>'
    )
