"""Supervised fine-tuning: hand-computed loss, packed rows equal to separate ones, masks, one denominator."""

import math
import random
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

from dianoia.base.errors import TrainingStopped
from dianoia.learner import supervised
from dianoia.learner.attention.packed_rows import Demonstration, can_pack, pack_demonstrations
from dianoia.learner.replicas import ThreadReplicas
from dianoia.learner.supervised import SupervisedLearner
from tests.unit.learner.conftest import optimizer_settings

MakeModel = Callable[..., PreTrainedModel]
VOCABULARY = 13


def demonstration(ids: list[int], prompt: int) -> Demonstration:
    return Demonstration(torch.tensor(ids, dtype=torch.int32), torch.arange(len(ids)) >= prompt)


def demonstrations(count: int = 7) -> list[Demonstration]:
    draw = random.Random(3)
    shapes = [(draw.randint(1, 6), draw.randint(1, 9)) for _ in range(count)]
    return [demonstration([draw.randrange(VOCABULARY) for _ in range(p + r)], p) for p, r in shapes]


def learner(
    model: PreTrainedModel, tokens_per_row: int = 1000, **options: float
) -> SupervisedLearner:
    return SupervisedLearner(
        model, optimizer_settings(**options), total_steps=10, tokens_per_row=tokens_per_row
    )


def plain_losses(model: PreTrainedModel, sample: Demonstration) -> Tensor:
    """Return the loss of every learnt token, by the model's own forward and a log-softmax."""
    logits = model(input_ids=sample.ids_L[None].long()).logits[0]
    logprobs = logits.log_softmax(-1)
    positions = [i for i, learnt in enumerate(sample.learnt_L.tolist()) if learnt]
    return torch.stack([-logprobs[i - 1, sample.ids_L[i].item()] for i in positions])


def gradients(model: PreTrainedModel) -> list[Tensor]:
    results = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    assert len(results) == len(list(model.parameters()))
    return results


def packed_gradients(first: SupervisedLearner, samples: list[Demonstration]) -> list[Tensor]:
    loss = partial(first._row_loss, sum(int(sample.learnt_L.sum()) for sample in samples))
    first.trainer.replicas.accumulate(loss, first.rows(samples))
    return gradients(first.model)


def test_a_model_without_weights_by_hand(make_model: MakeModel) -> None:
    """All logits are equal: every token costs ln 13, and the likeliest one is by convention the first, 0."""
    model = make_model(tied=False)
    torch.nn.init.zeros_(model.get_output_embeddings().weight)
    trained = learner(model)
    samples = [demonstration([5, 6, 0, 7], 2), demonstration([1, 0, 0], 1)]
    loss, accuracy = trained.evaluate(samples)
    assert loss == pytest.approx(math.log(13), abs=1e-12)
    assert accuracy == pytest.approx(3 / 4)  # of the learnt 0 7 0 0, three are 0


@pytest.mark.parametrize("family", ["qwen3", "qwen2", "llama"])
@pytest.mark.parametrize("tied", [True, False])
def test_packed_losses_and_gradients_are_those_of_separate_rows(
    family: str, tied: bool, make_model: MakeModel
) -> None:
    model, samples = make_model(family, tied), demonstrations()
    trained = learner(model)
    assert trained.packs and trained.plain_head
    row = pack_demonstrations(samples)
    assert len(row.lengths) == len(samples)
    packed, _ = trained.token_losses(model, row)
    apart = torch.cat([plain_losses(model, sample) for sample in samples])
    assert torch.allclose(packed, apart, rtol=0, atol=1e-9)
    model.zero_grad()
    apart.mean().backward()
    expected = gradients(model)
    for ours, theirs in zip(packed_gradients(trained, samples), expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-9)


def test_one_forward_pass_holds_them_all(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = []
    monkeypatch.setattr(
        supervised,
        "pack_demonstrations",
        lambda s, d: rows.append(len(s)) or pack_demonstrations(s, d),
    )
    learner(make_model()).evaluate(demonstrations())
    assert rows == [7]


@pytest.mark.parametrize("changed", [0, 2, 4])
def test_a_sample_never_changes_anothers_loss(changed: int, make_model: MakeModel) -> None:
    model, samples = make_model(), demonstrations(5)
    trained, counts = learner(model), [int(sample.learnt_L.sum()) for sample in samples]
    before, _ = trained.token_losses(model, pack_demonstrations(samples))
    other = (samples[changed].ids_L + 1) % VOCABULARY
    samples[changed] = Demonstration(other, samples[changed].learnt_L)
    after, _ = trained.token_losses(model, pack_demonstrations(samples))
    for index, (a, b) in enumerate(zip(before.split(counts), after.split(counts), strict=True)):
        assert torch.equal(a, b) == (index != changed)


def test_nan_does_not_leak_into_the_neighbours(make_model: MakeModel) -> None:
    model = make_model(tied=False)
    with torch.no_grad():
        model.get_input_embeddings().weight[12] = math.nan
    samples = [demonstration([1, 2, 3], 1), demonstration([12, 4, 5], 1), demonstration([6, 7], 1)]
    losses, _ = learner(model).token_losses(model, pack_demonstrations(samples))
    assert losses.isnan().tolist() == [False, False, True, True, False]


def test_the_probe_refuses_windows(make_model: MakeModel) -> None:
    """A window that a sample does not reach makes no difference; the configuration says it is there."""
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        intermediate_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        sliding_window=3,
    )
    model = MistralForCausalLM(config).double().eval()
    assert not can_pack(model) and can_pack(make_model())
    trained, samples = learner(model), demonstrations()
    assert not trained.packs
    apart = torch.cat([plain_losses(model, sample) for sample in samples])
    assert trained.evaluate(samples)[0] == pytest.approx(apart.mean().item(), abs=1e-9)


def test_a_row_by_hand() -> None:
    row = pack_demonstrations(
        [demonstration([5, 6, 7], 1), demonstration([8, 9], 1), demonstration([1, 2, 3], 2)]
    )
    assert row.ids_1N.tolist() == [[5, 6, 7, 8, 9, 1, 2, 3]]
    assert row.positions_1N.tolist() == [[0, 1, 2, 0, 1, 0, 1, 2]]
    assert row.targets_M.tolist() == [6, 7, 9, 3]
    assert row.predicting_M.tolist() == [0, 1, 3, 6]


def test_positions_that_are_learnt_start_again_too() -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=8, n_layer=2, n_head=2, n_positions=16)
    model = GPT2LMHeadModel(config).double().eval()
    torch.nn.init.normal_(model.transformer.wpe.weight)
    samples = demonstrations()
    apart = torch.cat([plain_losses(model, sample) for sample in samples])
    assert learner(model).evaluate(samples)[0] == pytest.approx(apart.mean().item(), abs=1e-9)


def test_one_denominator_whatever_the_rows(make_model: MakeModel) -> None:
    samples = demonstrations()
    for tokens in (1, 12, 1000):
        models = [make_model(), make_model()]
        whole, split = learner(models[0]), learner(models[1], tokens_per_row=tokens)
        a, b = whole.update(samples), split.update(samples)
        assert a.loss == pytest.approx(b.loss, abs=1e-9)
        assert a.grad_norm == pytest.approx(b.grad_norm, abs=1e-9)
        for mine, theirs in zip(models[0].parameters(), models[1].parameters(), strict=True):
            assert torch.allclose(mine, theirs, rtol=0, atol=1e-6)


def test_replicas_change_nothing(make_model: MakeModel) -> None:
    samples, alone = demonstrations(), learner(make_model())
    three = learner(make_model())
    three.trainer.replicas = ThreadReplicas(three.model, 3)
    assert three.trainer.replicas.count == 3 and len(three.rows(samples)) >= 3
    a, b = alone.update(samples), three.update(samples)
    assert a.loss == pytest.approx(b.loss, abs=1e-9)
    assert a.grad_norm == pytest.approx(b.grad_norm, abs=1e-9)


def test_many_logits_are_taken_in_chunks(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, trained = demonstrations(), learner(make_model())
    whole = packed_gradients(trained, samples)
    monkeypatch.setattr(supervised, "LOGITS_AT_ONCE", 3 * VOCABULARY)
    for ours, theirs in zip(packed_gradients(trained, samples), whole, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-9)


def test_prompt_tokens_are_read_and_not_learnt(make_model: MakeModel) -> None:
    """With untied embeddings, the head's gradient of the prompt's tokens is what softmax alone gives them."""
    model = make_model(tied=False)
    trained = learner(model)
    head = model.get_output_embeddings().weight
    short = demonstration([3, 4, 5], 2)
    packed_gradients(trained, [short])
    with torch.no_grad():
        hidden = model.base_model(input_ids=short.ids_L[None].long()).last_hidden_state[0]
        error = (head @ hidden[1]).softmax(-1)
        error[5] -= 1  # the one learnt token
    assert torch.allclose(head.grad, torch.outer(error, hidden[1]), rtol=0, atol=1e-12)


def test_a_longer_prompt_weighs_nothing(make_model: MakeModel) -> None:
    model = make_model()
    samples = demonstrations()
    losses = [plain_losses(model, sample) for sample in samples]
    tokens = sum(len(part) for part in losses)
    expected = sum(float(part.sum().detach()) for part in losses) / tokens
    assert learner(model).evaluate(samples)[0] == pytest.approx(expected, abs=1e-9)


def test_the_gradient_is_clipped_and_the_rate_falls_to_a_tenth(make_model: MakeModel) -> None:
    trained = learner(make_model(), max_grad_norm=1e-3, schedule="cosine", floor=0.1)  # type: ignore[arg-type]
    done = [trained.update(demonstrations()) for _ in range(11)]
    assert done[0].grad_norm > 1e-3
    norm = torch.nn.utils.get_total_norm(gradients(trained.model))
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)
    rates = [step.learning_rate for step in done]
    assert rates[0] == 1e-2 and rates[10] == pytest.approx(1e-3)
    assert all(a > b for a, b in pairwise(rates))


def test_what_is_learnt_gets_likelier(make_model: MakeModel) -> None:
    trained, samples = learner(make_model()), demonstrations()
    losses = [trained.update(samples).loss for _ in range(30)]
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("stop", [math.inf, 1e-9])
def test_it_stops_with_the_weights_untouched(stop: float, make_model: MakeModel) -> None:
    model = make_model(tied=False)
    if stop == math.inf:
        with torch.no_grad():
            model.get_output_embeddings().weight[0] = math.nan
    trained = learner(model, stop_grad_norm=stop)
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(
        TrainingStopped, match=r"before optimizer step 1.*learning_rate \(now 0.01\)"
    ):
        trained.update(demonstrations())
    for old, new in zip(before, model.parameters(), strict=True):
        assert torch.equal(old.nan_to_num(), new.nan_to_num())
    if stop == math.inf:
        with pytest.raises(TrainingStopped, match="evaluation loss is nan"):
            trained.evaluate(demonstrations())


def test_going_on_from_a_state_is_exact(make_model: MakeModel, tmp_path: Path) -> None:
    samples = demonstrations()
    whole, first = learner(make_model()), learner(make_model())
    rows = [whole.update(samples) for _ in range(4)]
    for _ in range(2):
        first.update(samples)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = learner(make_model(seed=5))
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [second.update(samples) for _ in range(2)] == rows[2:]
    for mine, theirs in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    second.model.save_pretrained(tmp_path / "folder")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "folder", dtype=torch.float64)
    assert torch.equal(
        loaded(torch.tensor([[1, 2]])).logits, second.model(torch.tensor([[1, 2]])).logits
    )
