"""The results of an evaluation: as text of 80 columns, and as JSON.

In: the measurements of an `Evaluation` and their scores. Out: lines, or one JSON object. Values are in per cent in the text and
shares in JSON, as in all files of a run.
"""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dianoia.algo.estimates import Estimate
from dianoia.evaluation.benchmarks import Published, published
from dianoia.evaluation.evaluation_recipe import Measurement
from dianoia.evaluation.scores import Scores, differences

_COLUMNS = 80
_NAME = 23
"""Columns of a model's name."""


@dataclass(frozen=True, slots=True)
class Result:
    """A measurement with its scores."""

    measurement: Measurement
    scores: Scores
    rollouts: str
    """The file of its rollouts."""

    @property
    def name(self) -> str:
        """The model as it was typed."""
        return self.measurement.subject.typed

    @property
    def published(self) -> Published | None:
        """Return what is published of this model on this benchmark."""
        benchmark = self.measurement.target.benchmark
        source = self.measurement.subject.source
        return None if benchmark is None else published(source, benchmark.name)


def table_lines(results: Sequence[Result]) -> Iterator[str]:
    """Yield the results as text: a table per target, then the differences to its first model."""
    for index, group in enumerate(_by_target(results)):
        if index:
            yield ""
        yield from _target_lines(group)


def as_json(results: Sequence[Result], run: str, seed: int, notes: Sequence[str]) -> dict[str, Any]:
    """Return the results as a JSON object."""
    return {
        "run": run,
        "seed": seed,
        "notes": list(notes),
        "targets": [_target_json(group) for group in _by_target(results)],
    }


def _by_target(results: Sequence[Result]) -> list[list[Result]]:
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.measurement.target.name, []).append(result)
    return list(groups.values())


# Text ------------------------------------------------------------------------------------------------


def _target_lines(group: Sequence[Result]) -> Iterator[str]:
    first, titles = group[0], _titles(group)
    k, about = first.scores.samples, first.measurement
    yield from _wrapped(
        f"{about.target.name}, in per cent: {_count(about.problems, 'problem')}, {_count(k, 'sample')} each, temperature "
        f"{about.temperature:g}, top-p {about.top_p:g}"
    )
    several = (f"cons@{k}", f"pass@{k}") if k > 1 else ("", "")
    heads = "".join(f"{text:>8}" for text in (*several, "cut"))
    yield f"{'model':<{_NAME}}  {'pass@1 [95 %]':<21}{heads}{'published':>10}"
    for result in group:
        # The number of tokens is a part of what was measured.
        mark = "*" if result.measurement.lowered else ""
        yield _row(titles[result.name] + mark, result.scores, _published_value(result))
        domains = result.scores.by_domain()
        for domain, scores in domains.items() if len(domains) > 1 else ():
            yield _row(f"  {domain}", scores, "")
    if len(group) > 1:
        yield f"less {_cut(titles[first.name], 60)}, problem by problem:"
        for result in group[1:]:
            # All against the first: among all pairs, some interval would leave out 0 by chance.
            yield _difference_row(titles[result.name], differences(result.scores, first.scores))
    if k > 2:
        yield from _pass_curve(group, titles)
    yield from _footnotes(group, titles)


def _titles(group: Sequence[Result]) -> dict[str, str]:
    """Return a short title per model: of a checkpoint its run and name, unless two would have the same one."""
    titles = {result.name: result.measurement.subject.title for result in group}
    # Two folders may end in the same name; then both keep what was typed.
    counts = Counter(titles.values())
    return {name: title if counts[title] == 1 else name for name, title in titles.items()}


def _row(name: str, scores: Scores, published: str) -> str:
    k, estimates = scores.samples, scores.estimates()
    texts = [
        f"{_percent(estimates[key].value):>8}" if key in estimates else " " * 8
        for key in (f"cons@{k}" if k > 1 else "", f"pass@{k}" if k > 1 else "", "truncated")
    ]
    line = f"{_cut(name):<{_NAME}}  {_interval(estimates['pass@1']):<21}" + "".join(texts)
    return f"{line}{published:>10}".rstrip()


def _difference_row(title: str, values: Mapping[str, Estimate]) -> str:
    votes = [f"{_signed(value.value):>8}" for key, value in values.items() if key != "pass@1"]
    line = f"{_cut(title):<{_NAME}}  {_interval(values['pass@1'], signed=True):<21}"
    return (line + "".join(votes)).rstrip()


def _pass_curve(group: Sequence[Result], titles: Mapping[str, str]) -> Iterator[str]:
    """Yield pass@k for every k: from the same samples, without drawing fewer."""
    keys = [key for key in group[0].scores.estimates() if key.startswith("pass@")]
    # The last ones say most where not all fit.
    # Seven columns of eight characters are what 80 columns leave beside the name.
    keys = keys[-7:]
    yield f"{'':<{_NAME}} " + "".join(f"{key:>8}" for key in keys)
    for result in group:
        estimates = result.scores.estimates()
        values = (f"{_percent(estimates[key].value):>8}" for key in keys if key in estimates)
        yield f"{_cut(titles[result.name]):<{_NAME}} " + "".join(values)


def _footnotes(group: Sequence[Result], titles: Mapping[str, str]) -> Iterator[str]:
    for result in group:
        about = result.measurement
        if about.lowered:
            yield from _wrapped(
                f"* {titles[result.name]} has room for {about.max_tokens:,} response tokens, the protocol "
                f"{about.target.protocol.max_tokens:,}"
            )
    # Each source once, in the order of the models.
    for source in dict.fromkeys(r.published.source for r in group if r.published is not None):
        yield from _wrapped(f"published: {source}")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _COLUMNS, subsequent_indent="  ", break_long_words=False)


def _published_value(result: Result) -> str:
    published = result.published
    return (
        ""
        if published is None or "pass@1" not in published.values
        else f"{published.values['pass@1']:.1f}"
    )


def _cut(name: str, columns: int = _NAME) -> str:
    """Return a name in so many columns; its end says most."""
    # `3 - columns` is negative: the last `columns` - 3 characters.
    return name if len(name) <= columns else f"...{name[3 - columns :]}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}"


def _interval(estimate: Estimate, signed: bool = False) -> str:
    write = _signed if signed else _percent
    return f"{write(estimate.value)} [{write(estimate.low)}, {write(estimate.high)}]"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" + ("" if number == 1 else "s")


# JSON ------------------------------------------------------------------------------------------------


def _target_json(group: Sequence[Result]) -> dict[str, Any]:
    first = group[0].measurement
    problems = first.target.problems
    return {
        "name": first.target.name,
        "problems": first.problems,
        "data": problems
        if isinstance(problems, str)
        else problems.model_dump(mode="json", exclude_defaults=True),
        "samples": first.samples,
        "temperature": first.temperature,
        "top_p": first.top_p,
        "models": [_model_json(result) for result in group],
        "differences": [
            {
                "model": result.name,
                "less": group[0].name,
                **_table(differences(result.scores, group[0].scores)),
            }
            for result in group[1:]
        ],
    }


def _model_json(result: Result) -> dict[str, Any]:
    about, published = result.measurement, result.published
    return {
        "model": result.name,
        "source": about.subject.source,
        "template": about.subject.template.name,
        "wording": about.wording,
        "max_tokens": about.max_tokens,
        "estimates": _table(result.scores.estimates()),
        "by_domain": {
            d: _table(scores.estimates()) for d, scores in result.scores.by_domain().items()
        },
        "published": None
        if published is None
        else {**published.values, "source": published.source},
        "stage": about.stage,
        "rollouts": result.rollouts,
    }


def _table(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {metric: asdict(value) for metric, value in estimates.items()}
