"""Log-probabilities under weights that are read while they are needed."""

import pytest
import torch

from dianoia.sampler.served.streamed_model import StreamedModel
from tests.unit.sampler_models import FAMILIES, forward_logprobs, make

SEQUENCES = [((4, 9), (7, 2, 2)), ((1,), (30,))]


@pytest.mark.parametrize("family", FAMILIES)
def test_they_are_those_of_the_model_itself(family: str) -> None:
    model = make(family)
    own = StreamedModel(model.config).logprobs(model.state_dict(), SEQUENCES)
    for (prompt, response), values in zip(SEQUENCES, own, strict=True):
        assert values == pytest.approx(forward_logprobs(model, prompt, response), abs=1e-5)


def test_nothing_of_the_weights_is_kept() -> None:
    model = make("qwen3")
    streamed = StreamedModel(model.config)
    streamed.logprobs(model.state_dict(), SEQUENCES)
    assert all(parameter.is_meta for parameter in streamed._model.parameters())
    half = {name: tensor.bfloat16() for name, tensor in model.state_dict().items()}
    (values, _) = streamed.logprobs(half, SEQUENCES)
    rounded = make("qwen3")
    rounded.load_state_dict({name: tensor.float() for name, tensor in half.items()})
    assert values == pytest.approx(forward_logprobs(rounded, *SEQUENCES[0]), abs=1e-5)
    assert torch.is_grad_enabled()
