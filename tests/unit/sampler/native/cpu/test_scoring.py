"""Log-probabilities of given tokens: those of transformers, and the same bits however a sequence is divided."""

import pytest
import torch

from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.native.cpu import scoring
from dianoia.sampler.native.cpu.scoring import ScoredSequence
from dianoia.sampler.native.engine import NativeSampler
from tests.unit.sampler_models import make

pytestmark = pytest.mark.usefixtures("in_c")

IDS = (9, 4, 1, 30, 2, 2, 17, 45, 8, 0, 11)


def sequence(family: str = "qwen3") -> ScoredSequence:
    model = make(family)
    native = NativeSampler(model.config)
    native.load(WeightUpdate(0, model.state_dict()))
    return native.scored(len(IDS))


@pytest.mark.parametrize("family", ["qwen3", "llama-rope-bias", "qwen2-tied"])
def test_scores_are_those_of_transformers(family: str) -> None:
    with torch.no_grad():
        logits = make(family)(torch.tensor([IDS])).logits[0]
    expected = logits.log_softmax(-1)
    scores = sequence(family).extend(IDS, likeliest=3)
    assert [score.id for score in scores] == list(IDS)
    assert scores[0].logprob is None and scores[0].likeliest == ()
    for place, score in enumerate(scores[1:]):
        assert score.logprob == pytest.approx(float(expected[place, score.id]), abs=1e-5)
        top = expected[place].topk(3)
        assert [token for token, _ in score.likeliest] == top.indices.tolist()
        assert [value for _, value in score.likeliest] == pytest.approx(
            top.values.tolist(), abs=1e-5
        )


def test_division_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sequence().extend(IDS, likeliest=2)
    for width in (1, 2, 5):
        parts = sequence()
        scores = [s for i in range(0, len(IDS), width) for s in parts.extend(IDS[i : i + width], 2)]
        assert scores == whole
    monkeypatch.setattr(scoring, "PREFILL_TOKENS", 3)
    assert sequence().extend(IDS, 2) == whole


def test_more_than_the_vocabulary() -> None:
    assert {len(score.likeliest) for score in sequence().extend(IDS, 1000)[1:]} == {50}
