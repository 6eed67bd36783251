"""The stage table: what every checkpoint of the recipe can do, with the paper's table beside it.

In: a `Run` whose recipe says which checkpoint plays which part. Out: HTML. The best value of the stages from R1-Zero to R1
is bold, here and there, so that the shape of both tables is seen at once.
"""

from collections.abc import Sequence

from dianoia.claims.paper import CHAIN, NAMES, STAGES, TABLE
from dianoia.report.html_values import amount, escape, interval, paragraph
from dianoia.report.run_reader import Estimate, Run, StageRow

_MEASURED = (
    ("pass@1", "Right answers, pass@1"),
    ("baseline", "Right answers, always the commonest gold answer"),
    ("thought_tokens", "Tokens of a thought"),
    ("target_language", "Words of a thought in the question's language"),
)
_SHAPE = (
    "How to read both: the cold start (Dev1) gains general ability and loses reasoning; reasoning RL (Dev2) "
    "brings reasoning back; the large fine-tuning (Dev3) helps general ability again; RL for all scenarios (R1) "
    "mainly adds what people prefer. The best value of a row from R1-Zero to R1 is bold."
)


def section(run: Run) -> str:
    """The section with its heading; empty where no checkpoint plays a part."""
    if not run.stage_table:
        return ""
    chain = [row for row in run.stage_table if any(part in CHAIN for part in row.parts)]
    others = [row for row in run.stage_table if row not in chain]
    staged = any(part in ("dev1", "dev2", "dev3", "r1") for row in chain for part in row.parts)
    told = paragraph(_SHAPE) if staged else ""
    beside = _paper() if chain else ""
    return (
        f'<section id="stages"><h2>Stages</h2>{told}<div class="beside">'
        f"{_table('This run', chain) if chain else ''}{beside}</div>{_others(others)}</section>"
    )


def _others(rows: Sequence[StageRow]) -> str:
    return f'<div class="beside">{_table("Beside the chain", rows)}</div>' if rows else ""


def _table(title: str, rows: Sequence[StageRow]) -> str:
    head = "".join(f'<th scope="col">{_head(row)}</th>' for row in rows)
    bodies = "".join(_body(metric, told, rows) for metric, told in _MEASURED)
    return (
        f'<div class="wide" tabindex="0"><table class="stages"><caption><b>{escape(title)}</b>: held-out '
        "problems; reasoning is the mean of math, code, stem and logic. Below each share: its 95 % interval."
        f'</caption><thead><tr><th scope="col"></th>{head}</tr></thead>{bodies}</table></div>'
    )


def _head(row: StageRow) -> str:
    played = [part for part in row.parts if part in CHAIN] or row.parts
    named = [NAMES.get(part, part) for part in played]
    small = "" if row.checkpoint in row.parts else f"<small>{escape(row.checkpoint)}</small>"
    return f"{escape(' and '.join(named))}{small}"


def _body(metric: str, told: str, rows: Sequence[StageRow]) -> str:
    domains = dict.fromkeys(
        d for row in rows for d, found in row.domains.items() if metric in found
    )
    lines = "".join(_line(metric, domain, rows) for domain in domains)
    title = f'<tr><th class="domain" scope="rowgroup" colspan="{len(rows) + 1}">{escape(told)}</th></tr>'
    return f"<tbody>{title}{lines}</tbody>" if lines else ""


def _line(metric: str, domain: str, rows: Sequence[StageRow]) -> str:
    found = [row.domains.get(domain, {}).get(metric) for row in rows]
    best = _best(
        [
            e.value if e and set(row.parts) & set(STAGES) else None
            for e, row in zip(found, rows, strict=True)
        ]
    )
    cells = "".join(_cell(metric, e, metric == "pass@1" and i in best) for i, e in enumerate(found))
    kind = ' class="sum"' if domain == "reasoning" else ""
    return f'<tr{kind}><th scope="row">{escape(domain)}</th>{cells}</tr>'


def _best(values: Sequence[float | None]) -> set[int]:
    """Places of the largest value, if there is anything to choose from."""
    known = [value for value in values if value is not None]
    return {i for i, value in enumerate(values) if value == max(known)} if len(known) > 1 else set()


def _cell(metric: str, estimate: Estimate | None, best: bool) -> str:
    if estimate is None:
        return "<td>–</td>"
    told = escape(amount(metric, estimate.value))
    small = f"<small>{interval(metric, estimate)}</small>" if metric == "pass@1" else ""
    return f"<td>{f'<b>{told}</b>' if best else told}{small}</td>"


def _paper() -> str:
    head = "".join(f'<th scope="col">{NAMES[part]}</th>' for part in STAGES)
    bodies = "".join(_group(group, rows) for group, rows in TABLE.items())
    return (
        '<div class="wide" tabindex="0"><table class="stages"><caption><b>The paper</b>: DeepSeek-R1, table 3. In '
        "per cent, except the rating. Other models and other problems: compare shapes, not numbers."
        f'</caption><thead><tr><th scope="col"></th>{head}</tr></thead>{bodies}</table></div>'
    )


def _group(group: str, rows: dict[str, tuple[float, ...]]) -> str:
    title = f'<tr><th class="domain" scope="rowgroup" colspan="{len(STAGES) + 1}">{escape(group)}</th></tr>'
    lines = "".join(_benchmark(name, values) for name, values in rows.items())
    return f"<tbody>{title}{lines}</tbody>"


def _benchmark(name: str, values: tuple[float, ...]) -> str:
    best = _best(values)
    shown = [f"{value:.0f}" if value > 100 else f"{value:.1f}" for value in values]
    cells = "".join(f"<td>{f'<b>{s}</b>' if i in best else s}</td>" for i, s in enumerate(shown))
    return f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
