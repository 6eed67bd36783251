"""The table at the end of a run, from what results.json holds."""

from dianoia.pipeline.results import summary

HEAD = ("checkpoint", "metric", "value", "95 % interval")


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 64}


def test_a_row_per_checkpoint_and_domain_and_one_per_reward_model() -> None:
    results = {
        "evaluations": {
            "base": {"math": {"pass@1": estimate(0.1), "format": estimate(0.9)}},
            "zero": {"math": {"pass@1": estimate(0.75)}, "code": {"pass@1": estimate(0.5)}},
        },
        "reward_models": {"helpful": {"accuracy": estimate(0.9), "margin": estimate(3.0)}},
    }
    assert summary(results) == [
        HEAD,
        ("base", "math pass@1", "10.0 %", "5.0 to 15.0"),
        ("zero", "math pass@1", "75.0 %", "70.0 to 80.0"),
        ("zero", "code pass@1", "50.0 %", "45.0 to 55.0"),
        ("helpful", "accuracy", "90.0 %", "85.0 to 95.0"),
    ]


def test_many_rows_are_cut_to_the_first_domain() -> None:
    domains = {name: {"pass@1": estimate(0.5)} for name in ("math", "code", "stem", "logic")}
    results = {"evaluations": dict.fromkeys(map(str, range(8)), domains), "reward_models": {}}
    rows = summary(results)
    assert len(rows) == 9 and {row[1] for row in rows[1:]} == {"math pass@1"}


def test_without_estimates_there_is_no_table() -> None:
    assert summary({"evaluations": {}, "reward_models": {}}) == []
