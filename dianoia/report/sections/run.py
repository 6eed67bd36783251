"""What went wrong, and how to repeat the run.

In: a `Run`. Out: HTML. Diagnoses quote model output, so nothing in them is trusted.
"""

import json
from collections.abc import Mapping
from typing import Any

from dianoia.report.html_values import SECTIONED, anchor, code, duration, escape, missing, paragraph
from dianoia.report.run_reader import Run, Stage

_WATCHED = (
    "Nothing to report. While a reinforcement learning stage runs, Dianoia watches for responses that are "
    "all cut, a format that is never met, groups that are all right, all wrong or all alike, gold answers "
    "that cannot be read, one answer to everything, parts of the reward that never differ, thoughts that collapse, and reward models that tell nothing apart, drown the rules or rise "
    "while accuracy falls. None of these happened."
)


def damaged(run: Run) -> str:
    """The files that could not be read, if any."""
    if not run.damaged:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in run.damaged)
    return (
        '<details class="damaged" open><summary>Some files of this run could not be read, and are left out'
        f"</summary><ul>{items}</ul></details>"
    )


def diagnoses(run: Run) -> str:
    """Every diagnosis with its advice, in the order of the stages and steps."""
    if any(stage.diagnoses for stage in run.stages):
        return "".join(_diagnosis(s, row) for s in run.stages for row in s.diagnoses)
    if not any(stage.rows for stage in run.of_kind("rl")):
        return missing("No reinforcement learning stage has run yet, so nothing was watched.")
    return paragraph(escape(_WATCHED))


def _diagnosis(stage: Stage, row: Mapping[str, Any]) -> str:
    return (
        f'<article class="diagnosis"><h3>{escape(_words(row.get("code", "unnamed")))}'
        f'<span class="dim">stage {escape(stage.name)}, {_where(row)}</span>'
        f"</h3><p>{_sentence(row.get('message', ''))}</p>"
        f"<p><b>What to do:</b> {_sentence(row.get('advice', ''))}</p></article>"
    )


def _where(row: Mapping[str, Any]) -> str:
    """The step, or of an evaluation the checkpoint and the domain."""
    if "checkpoint" in row:
        return f"{escape(row['checkpoint'])} on {escape(row.get('domain', 'its problems'))}"
    return f"step {escape(row.get('step', 'unknown'))}"


def _words(name: object) -> str:
    return str(name).replace("_", " ").capitalize()


def _sentence(text: object) -> str:
    told = str(text).strip()
    return escape(told[:1].upper() + told[1:] + ("" if told.endswith((".", "!", "?")) else "."))


def about(run: Run) -> str:
    """Command, seed, versions, stages, resolved recipe."""
    return (
        _command(run)
        + _stages(run)
        + _versions(run.about)
        + _earlier(run.about)
        + _folded("The resolved recipe (recipe.json)", run.recipe)
    )


def _command(run: Run) -> str:
    command = run.about.get("command")
    if not command:
        return missing("run.json is not there, so the command and the versions are not known.")
    return (
        f"<p>The same command, versions and seed on the same machine give the same numbers, times aside.</p>"
        f'<pre class="command">{escape(command)}</pre>'
    )


def _stages(run: Run) -> str:
    rows = "".join(
        f'<tr{_place(stage)}><th scope="row">{escape(stage.name)}</th><td>{escape(stage.kind)}</td>'
        f"<td>{_state(stage)}</td><td>{duration(stage.seconds)}</td></tr>"
        for stage in run.stages
    )
    return (
        '<table class="plain"><thead><tr><th scope="col">stage</th><th scope="col">kind</th>'
        f'<th scope="col">state</th><th scope="col">time</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _place(stage: Stage) -> str:
    return "" if stage.kind in SECTIONED else f' id="{anchor(stage.name)}"'


def _state(stage: Stage) -> str:
    if stage.stale:
        return "out of date"
    return "done" if stage.done else "not finished" if stage.started else "not started"


def _versions(about: Mapping[str, Any]) -> str:
    libraries = about.get("libraries")
    first = {key: about.get(key) for key in ("seed", "threads", "dianoia", "python", "platform")}
    every = {**first, **(libraries if isinstance(libraries, dict) else {})}
    pairs = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>"
        for key, value in every.items()
        if value is not None
    )
    return f'<dl class="versions">{pairs}</dl>' if pairs else ""


def _earlier(about: Mapping[str, Any]) -> str:
    earlier = [row for row in about.get("earlier") or () if isinstance(row, dict)]
    if not earlier:
        return ""
    items = "".join(f"<li>{code(row.get('command', 'unknown'))}</li>" for row in earlier)
    return f"<p>The run was resumed. Earlier commands that contributed to it:</p><ul>{items}</ul>"


def _folded(title: str, value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"
