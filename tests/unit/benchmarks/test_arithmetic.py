"""What a model asks of the machine, counted by hand."""

from benchmarks.table.arithmetic import Work, pairs, work_of
from benchmarks.table.cases import Case
from benchmarks.table.folders import config_of, model_of

SMALL = Work(((2, 3), (3, 2)), layers=5, head=(2, 7), width=4)


def test_operations_by_hand() -> None:
    # 10 tokens: 2 x 5 layers x 12 parameters; 4 scored: 2 x 14; 6 pairs: 4 x 5 layers x width 4
    assert SMALL.forward(10, 4, 6) == 2 * 10 * 60 + 2 * 4 * 14 + 6 * 80
    assert SMALL.training(10, 4, 6) == 3 * SMALL.forward(10, 4, 6)


def test_pairs_of_a_response_by_hand() -> None:
    # after 3 tokens of prompt: 4 + 5 of them
    assert pairs(3, 2) == 9
    assert pairs(0, 4) == 1 + 2 + 3 + 4


def test_the_matrices_are_those_of_the_model() -> None:
    size = Case(vocabulary=64, hidden=64, layers=2)
    work = work_of(size)
    matrices = [p.numel() for p in model_of(size).parameters() if p.dim() == 2]
    assert sum(matrices) == work.layers * work.layer + work.head[0] * work.head[1]
    assert work.width == config_of(size).num_attention_heads * 32


def test_the_usual_model_has_1_09_million_parameters() -> None:
    work = work_of(Case())
    assert round((work.layers * work.layer + work.head[0] * work.head[1]) / 1e6, 2) == 1.09
