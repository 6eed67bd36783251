"""Charts are drawn for what was recorded, and for nothing else."""

from types import SimpleNamespace
from typing import cast

import pytest

from dianoia.report.run_reader import Stage
from dianoia.report.sections.chart_plans import VALUE
from dianoia.report.sections.curves import charts


@pytest.mark.parametrize("has_value_model", [False, True])
def test_value_model_charts_need_a_value_model(has_value_model: bool) -> None:
    metrics = {"explained_variance": 0.5, "value_loss": 0.1, "values/mean": 1.0}
    rows = [{"step": step, "loss": 0.1, **(metrics if has_value_model else {})} for step in (1, 2)]
    stage = SimpleNamespace(rows=rows)
    titles = [chart.title for chart in charts(cast(Stage, stage), VALUE)]
    assert titles == ([plan.title for plan in VALUE] if has_value_model else [])
