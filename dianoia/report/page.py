"""Puts the report together.

In: a run directory. Out: `report.html` in it: one file that holds its styles, scripts, data and Plotly, which is
compressed and unpacked when the first chart comes into view. A content security policy allows only these scripts, and no network, so that a text written by a model stays a text.
"""

import base64
import gzip
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from dianoia.base.files import write_text
from dianoia.report.figures import DARK_COLOURS
from dianoia.report.html_values import data_block, escape
from dianoia.report.run_reader import Run, load
from dianoia.report.sections import (
    checkpoint_tables,
    claim_table,
    curves,
    data_tables,
    recipe_graph,
    rollout_examples,
    run_details,
    summary,
)
from dianoia.storage.run_directory import RunDirectory


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page."""

    id: str
    link: str
    """Text of the link in the navigation bar."""
    title: str
    render: Callable[[Run], str]
    """Returns the HTML below the title; if it is empty, the section is left out."""


_SECTIONS = (
    Section("recipe", "Recipe", "Recipe", recipe_graph.section),
    Section("stages", "Checkpoints", "Checkpoints", checkpoint_tables.stage_table),
    Section("claims", "Claims", "Claims of the paper", claim_table.section),
    Section("curves", "Curves", "Curves", curves.section),
    Section("evaluation", "Evaluation", "Evaluation", checkpoint_tables.evaluation),
    Section("data", "Data", "Data", data_tables.section),
    Section("rollouts", "Rollouts", "Rollouts", rollout_examples.section),
    Section("diagnoses", "Diagnoses", "Diagnoses", run_details.diagnoses),
    Section("run", "This run", "This run", run_details.reproduction),
)
_ASSETS = files("dianoia.report").joinpath("assets")


def write_report(run: RunDirectory, warn: Callable[[str], object] = lambda _: None) -> Path:
    """Write RUN/report.html and return its path. `warn` gets a sentence per file that could not be read.

    Raises ConfigError if the folder is no run directory.
    """
    # A damaged file costs its own part of the page, never the page.
    loaded = load(run)
    html = page(loaded)
    for sentence in loaded.damaged:
        warn(sentence)
    # JSON can hold a lone surrogate and UTF-8 cannot: it must not cost the report.
    write_text(run.report, html.encode("utf-8", "replace").decode("utf-8"))
    return run.report


def page(run: Run) -> str:
    """Return the whole page."""
    # Every section runs, in order, before the page is put together: an empty one has no link either.
    bodies = {section: section.render(run) for section in _SECTIONS}
    shown = {section: body for section, body in bodies.items() if body}
    return document(
        str(run.recipe.get("name", run.path.name)),
        # After the sections: the one of the rollouts may still find damaged files.
        summary.header(run) + run_details.damaged_files(run) + summary.cards(run),
        [(section.id, section.link, section.title, body) for section, body in shown.items()],
        # `rollouts.js` defines what `training.js` uses.
        ("folds", "charts", "rollouts", "training"),
    )


def document(
    title: str, header: str, sections: Sequence[tuple[str, str, str, str]], scripts: Sequence[str]
) -> str:
    """Return a page with charts: id, text of the link, title and HTML of each section, and the names of its scripts."""
    texts = [_asset(f"{name}.js") for name in scripts]
    plotly = get_plotlyjs()
    links = {"summary": "Summary", **{section: link for section, link, _, _ in sections}}
    return Template(_asset("report.html")).substitute(
        # Plotly is not among the scripts of the page; `charts.js` adds it when the first chart is drawn.
        policy=_security_policy([*texts, plotly]),
        title=escape(title),
        style=_asset("style.css"),
        navigation="".join(f'<a href="#{name}">{text}</a>' for name, text in links.items()),
        header=header,
        sections="\n".join(
            f'<section id="{section}"><h2>{heading}</h2>{body}</section>'
            for section, _, heading, body in sections
        ),
        plotly=_packed(plotly),
        palette=data_block("palette", DARK_COLOURS),
        scripts="\n".join(f"<script>{text}</script>" for text in texts),
    )


@lru_cache(maxsize=1)
def _packed(script: str) -> str:
    """Compress a script to a third of its size, as text that can stand in a page."""
    # Without a time of its own, the same script gives the same bytes.
    return base64.b64encode(gzip.compress(script.encode(), compresslevel=9, mtime=0)).decode()


def _asset(name: str) -> str:
    return _ASSETS.joinpath(name).read_text(encoding="utf-8")


def _security_policy(scripts: Sequence[str]) -> str:
    """Allow these scripts by their hashes, inline styles, which Plotly needs, and no network at all."""
    # The hash is over the exact text between the tags: the template must not add white space to it.
    hashes = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
