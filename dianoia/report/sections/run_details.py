"""What went wrong in a run, and how to repeat it.

In: a `Run`. Out: HTML. Diagnoses quote model output, so nothing in them is trusted. Not here: finding what went
wrong; stages write their diagnoses while they run.
"""

import json
from collections.abc import Mapping
from typing import Any

from dianoia.report.html_values import (
    KINDS_WITH_HEADING,
    anchor,
    code,
    duration,
    escape,
    missing,
    paragraph,
)
from dianoia.report.run_reader import Run, Stage

_MAX_ROWS = 8
"""With more stages than this, their table is folded away."""
_NO_DIAGNOSES = (
    "Nothing to report. While a reinforcement learning stage runs, Dianoia looks for responses that are all "
    "truncated, a format that is never followed, groups whose rewards are all high, all low or all equal, gold "
    "answers that cannot be parsed, one answer to every problem, parts of the reward that never vary, thoughts "
    "that collapse, and reward models that do not tell responses apart, outweigh the rules, or rise while "
    "accuracy falls. None of these happened."
)


def damaged_files(run: Run) -> str:
    """List the files that could not be read; empty if there are none."""
    if not run.damaged:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in run.damaged)
    return (
        '<details class="damaged" open><summary>Some files of this run could not be read and are left out'
        f"</summary><ul>{items}</ul></details>"
    )


def diagnoses(run: Run) -> str:
    """Return every diagnosis with its advice, in the order of stages and steps."""
    if any(stage.diagnoses for stage in run.stages):
        return "".join(_diagnosis(s, row) for s in run.stages for row in s.diagnoses)
    # No diagnoses means something only if a stage was watched.
    if not any(stage.rows for stage in run.of_kind("rl")):
        return missing("No reinforcement learning stage has run yet, so there are no diagnoses.")
    return paragraph(escape(_NO_DIAGNOSES))


def _diagnosis(stage: Stage, row: Mapping[str, Any]) -> str:
    # Codes are words with underscores, such as groups_uniform.
    title = str(row.get("code", "unnamed")).replace("_", " ").capitalize()
    return (
        f'<article class="diagnosis"><h3>{escape(title)}'
        f'<span class="dim">stage {escape(stage.name)}, {_location(row)}</span>'
        f"</h3><p>{_sentence(row.get('message', ''))}</p>"
        f"<p><b>What to do:</b> {_sentence(row.get('advice', ''))}</p></article>"
    )


def _location(row: Mapping[str, Any]) -> str:
    """Return the step, or for an evaluation the checkpoint and the domain."""
    if "checkpoint" in row:
        return f"{escape(row['checkpoint'])} on {escape(row.get('domain', 'its problems'))}"
    return f"step {escape(row.get('step', 'unknown'))}"


def _sentence(text: object) -> str:
    """Return a text with a capital letter and a full stop."""
    # Messages are written for the end of a line in a terminal: no capital, no full stop.
    sentence = str(text).strip()
    end = "" if sentence.endswith((".", "!", "?")) else "."
    return escape(sentence[:1].upper() + sentence[1:] + end)


def reproduction(run: Run) -> str:
    """Return the command, the stages, the versions and the recipe with all defaults."""
    return (
        _command(run)
        + _stage_table(run)
        + _versions(run.about)
        + _earlier_commands(run.about)
        + _folded_json("The recipe with all defaults (recipe.json)", run.recipe)
    )


def _command(run: Run) -> str:
    command = run.about.get("command")
    if not command:
        return missing("run.json is missing, so the command and the versions are unknown.")
    return (
        "<p>The same command, with the same versions and seed on the same machine, gives the same numbers, "
        f'except for times.</p><pre class="command">{escape(command)}</pre>'
    )


def _stage_table(run: Run) -> str:
    rows = "".join(
        f'<tr{_row_id(stage)}><th scope="row">{escape(stage.name)}</th><td>{escape(stage.kind)}</td>'
        f"<td>{_state(stage)}</td><td>{duration(stage.seconds)}</td></tr>"
        for stage in run.stages
    )
    table = (
        '<div class="wide" tabindex="0" role="region" aria-label="Stages"><table class="plain"><thead><tr>'
        '<th scope="col">stage</th><th scope="col">kind</th><th scope="col">state</th><th scope="col">time</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )
    if len(run.stages) <= _MAX_ROWS:
        return table
    return f"<details><summary>State and time of the {len(run.stages)} stages</summary>{table}</details>"


def _row_id(stage: Stage) -> str:
    """Return the id that links to the stage lead to, unless it has a heading elsewhere."""
    return "" if stage.kind in KINDS_WITH_HEADING else f' id="{anchor(stage.name)}"'


def _state(stage: Stage) -> str:
    if stage.stale:
        return "out of date"
    if stage.failure:
        return "failed"
    return "done" if stage.done else "not finished" if stage.started else "not started"


def _versions(about: Mapping[str, Any]) -> str:
    libraries = about.get("libraries")
    # Dianoia's own values come first, then the libraries.
    versions = {key: about.get(key) for key in ("seed", "threads", "dianoia", "python", "platform")}
    versions |= libraries if isinstance(libraries, dict) else {}
    items = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>"
        for key, value in versions.items()
        if value is not None
    )
    return f'<dl class="versions">{items}</dl>' if items else ""


def _earlier_commands(about: Mapping[str, Any]) -> str:
    # Each resumed run moves its predecessor's command here.
    earlier = [row for row in about.get("earlier") or () if isinstance(row, dict)]
    if not earlier:
        return ""
    items = "".join(f"<li>{code(row.get('command', 'unknown'))}</li>" for row in earlier)
    return f"<p>The run was resumed. Earlier commands that contributed to it:</p><ul>{items}</ul>"


def _folded_json(title: str, value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"
