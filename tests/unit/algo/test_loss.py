"""Losses: every formula against numbers worked out by hand, and the laws of gradients."""

import math
from dataclasses import asdict

import pytest
import torch
from torch import Tensor

from dianoia.algo.loss import (
    AGGREGATIONS,
    ALGORITHMS,
    KL_ESTIMATORS,
    LOSSES,
    cispo,
    clipped,
    gspo,
    kl_k3,
    policy_loss,
    token_losses,
    truncated_importance,
)

ALL = pytest.mark.parametrize("name", sorted(ALGORITHMS))


def one_token(ratio: float) -> tuple[Tensor, Tensor, Tensor]:
    """(logprobs, old, mask) of a single response token with that ratio."""
    logprobs_BT = torch.tensor([[math.log(ratio) - 2.0]], dtype=torch.float64, requires_grad=True)
    return logprobs_BT, torch.full_like(logprobs_BT, -2.0), torch.tensor([[True]])


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient", "low", "high"),
    [
        # -min(rho A, clip(rho, 0.8, 1.28) A); d rho / d logp = rho
        (1.5, 1.0, -1.28, 0.0, False, True),  # min(1.5, 1.28)
        (0.5, 1.0, -0.5, -0.5, False, False),  # min(0.5, 0.8)
        (0.5, -1.0, 0.8, 0.0, True, False),  # min(-0.5, -0.8)
        (1.5, -1.0, 1.5, 1.5, False, False),  # min(-1.5, -1.28)
        (1.1, 2.0, -2.2, -2.2, False, False),  # inside the bounds
    ],
)
def test_clipped(
    ratio: float, advantage: float, loss: float, gradient: float, low: bool, high: bool
) -> None:
    logprobs_BT, old_BT, mask_BT = one_token(ratio)
    token = clipped(logprobs_BT, old_BT, torch.tensor([advantage]), mask_BT, 0.2, 0.28)
    token.loss_BT.sum().backward()
    assert token.loss_BT.item() == pytest.approx(loss)
    assert logprobs_BT.grad is not None
    assert logprobs_BT.grad.item() == pytest.approx(gradient)
    assert (token.clipped_low_BT.item(), token.clipped_high_BT.item()) == (low, high)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"),
    # epsilon 10 is the interval [-9, 11]: only a good token beyond 11 is cut
    [(10.0, 1.0, -10.0), (12.0, 1.0, -11.0), (12.0, -1.0, 12.0), (0.001, -1.0, 0.001)],
)
def test_clipped_with_the_papers_epsilon(ratio: float, advantage: float, loss: float) -> None:
    logprobs_BT, old_BT, mask_BT = one_token(ratio)
    token = clipped(logprobs_BT, old_BT, torch.tensor([advantage]), mask_BT, 10.0, 10.0)
    assert token.loss_BT.item() == pytest.approx(loss)
    assert not token.clipped_low_BT.item()


@pytest.mark.parametrize(
    ("advantage", "loss", "gradient"),
    [
        (2.0, -2 * 1.0004, 0.0),  # s = 1.2214 is above 1.0004
        (-2.0, 2 * 1.2214028, 1.2214028),  # not bounded; d/dlogp_t = 2 s / |o| = s
    ],
)
def test_gspo(advantage: float, loss: float, gradient: float) -> None:
    # log-ratios 0.1 and 0.3: s = exp(0.2) = 1.2214028; the third position is padding
    logprobs_BT = torch.tensor([[-0.9, -0.7, 5.0]], dtype=torch.float64, requires_grad=True)
    old_BT, mask_BT = torch.full_like(logprobs_BT, -1.0), torch.tensor([[True, True, False]])
    token = gspo(logprobs_BT, old_BT, torch.tensor([advantage]), mask_BT, 3e-4, 4e-4)
    total = AGGREGATIONS["sequence_mean"].numerator(token.loss_BT, mask_BT)
    total.backward()
    assert total.item() == pytest.approx(loss)
    assert logprobs_BT.grad is not None
    assert logprobs_BT.grad[0].tolist() == pytest.approx([gradient, gradient, 0.0])


@pytest.mark.parametrize(
    ("logprob", "weight", "high"),
    # old -3: ratio e^2 = 7.389 is cut to 1 + 5; ratio e^1 = 2.718 is not; log pi stays the factor
    [(-1.0, 6.0, True), (-2.0, math.e, False)],
)
def test_cispo(logprob: float, weight: float, high: bool) -> None:
    logprobs_BT = torch.tensor([[logprob]], dtype=torch.float64, requires_grad=True)
    old_BT, mask_BT = torch.full_like(logprobs_BT, -3.0), torch.tensor([[True]])
    token = cispo(logprobs_BT, old_BT, torch.tensor([2.0]), mask_BT, 10.0, 5.0)
    token.loss_BT.sum().backward()
    assert token.loss_BT.item() == pytest.approx(-weight * 2 * logprob)
    assert logprobs_BT.grad is not None
    assert logprobs_BT.grad.item() == pytest.approx(-weight * 2)
    assert token.clipped_high_BT.item() is high


@pytest.mark.parametrize(
    ("r", "k3"),
    # 2 - ln 2 - 1 = 0.3068528; 0.5 + ln 2 - 1 = 0.1931472
    [(1.0, 0.0), (2.0, 0.3068528), (0.5, 0.1931472)],
)
def test_k3(r: float, k3: float) -> None:
    logprobs_BT = torch.tensor([[-2.0]], dtype=torch.float64)
    ref_BT = logprobs_BT + math.log(r)
    value = kl_k3(logprobs_BT, logprobs_BT, ref_BT, torch.tensor([[True]]))
    assert value.item() == pytest.approx(k3, abs=1e-7)


def test_truncated_importance() -> None:
    # ratios 4, 1/2 and 1, capped at 2; a NaN at a masked position is a 1
    learner_BT = torch.tensor([[math.log(4), math.log(0.5), 0.0, math.nan]], requires_grad=True)
    mask_BT = torch.tensor([[True, True, True, False]])
    weights_BT = truncated_importance(learner_BT, torch.zeros(1, 4), mask_BT, cap=2.0)
    assert weights_BT[0].tolist() == pytest.approx([2.0, 0.5, 1.0, 1.0])
    assert not weights_BT.requires_grad


@pytest.mark.parametrize(
    ("name", "numerator", "denominator"),
    [
        ("sequence_mean", 6.0, 2),  # (1 + 2 + 3) / 3 + 4, over 2 samples
        ("token_sum", 10.0, 4),  # 1 + 2 + 3 + 4, over 4 tokens
        ("constant_length", 10.0, 10),  # the same sum over 2 samples x max_tokens 5
    ],
)
def test_aggregations(name: str, numerator: float, denominator: int) -> None:
    loss_BT = torch.tensor([[1.0, 2.0, 3.0], [4.0, math.nan, math.nan]])
    mask_BT = torch.tensor([[True, True, True], [True, False, False]])
    assert AGGREGATIONS[name].numerator(loss_BT, mask_BT).item() == numerator
    assert AGGREGATIONS[name].denominator(2, 4, 5) == denominator


def inputs(padding: float) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """(logprobs, further _BT inputs, mask); masked positions hold `padding`."""
    random = torch.Generator().manual_seed(3)
    mask_BT = torch.tensor([[True, True, True], [True, False, False]])
    names = ("logprobs", "old", "ref_BT", "weights_BT", "entropy_BT", "sampler_BT")
    logprobs = {name: -torch.rand(2, 3, generator=random, dtype=torch.float64) for name in names}
    filled = {name: torch.where(mask_BT, value, padding) for name, value in logprobs.items()}
    return filled.pop("logprobs").requires_grad_(), filled, mask_BT


@ALL
@pytest.mark.parametrize("estimator", sorted(KL_ESTIMATORS))
def test_nan_at_masked_positions_changes_nothing(name: str, estimator: str) -> None:
    results = []
    for padding in (0.0, math.nan, math.inf):
        logprobs_BT, tensors, mask_BT = inputs(padding)
        loss, sums = policy_loss(
            ALGORITHMS[name],
            logprobs_BT,
            tensors.pop("old"),
            torch.tensor([1.0, -1.0]),
            mask_BT,
            bounds=(0.2, 0.2),
            kl_coefficient=0.1,
            kl_estimator=estimator,
            **tensors,  # type: ignore[arg-type]
        )
        loss.backward()
        assert logprobs_BT.grad is not None
        values = [float(value) for value in asdict(sums).values()]
        results.append((loss.item(), logprobs_BT.grad.tolist(), values))
    assert math.isfinite(results[0][0])
    assert results[0] == results[1] == results[2]


@ALL
def test_on_policy_gradient_is_advantage_times_score(name: str) -> None:
    # rho = 1, so the gradient with respect to log pi is -A, averaged as the algorithm does
    logprobs_BT, _, mask_BT = inputs(0.0)
    advantages_B = torch.tensor([1.5, -0.5])
    loss, sums = policy_loss(
        ALGORITHMS[name],
        logprobs_BT,
        logprobs_BT.detach().clone(),
        advantages_B,
        mask_BT,
        bounds=(0.2, 0.2),
    )
    loss.backward()
    share_B = (
        torch.tensor([1 / 3, 1.0]) if name in ("grpo", "gspo", "ppo") else torch.tensor([1.0, 1.0])
    )
    expected_BT = -(advantages_B * share_B)[:, None] * mask_BT
    assert logprobs_BT.grad is not None
    assert torch.allclose(logprobs_BT.grad, expected_BT.double())
    assert sums.ratio_max.item() == 1.0
    assert (sums.clipped_low + sums.clipped_high).item() == 0


@ALL
def test_uniform_group_has_exactly_no_gradient(name: str) -> None:
    logprobs_BT, tensors, mask_BT = inputs(0.0)
    loss, _ = policy_loss(
        ALGORITHMS[name],
        logprobs_BT,
        tensors["old"],
        torch.zeros(2),
        mask_BT,
        bounds=(0.2, 0.2),
    )
    loss.backward()
    assert logprobs_BT.grad is not None
    assert not logprobs_BT.grad.any()


def test_importance_weights_scale_the_policy_term_and_not_the_kl() -> None:
    logprobs_BT, tensors, mask_BT = inputs(0.0)
    arguments = (ALGORITHMS["dapo"], logprobs_BT, tensors["old"], torch.zeros(2), mask_BT)
    settings = {"bounds": (0.2, 0.2), "kl_coefficient": 0.5}
    without, _ = policy_loss(*arguments, **settings, ref_BT=tensors["ref_BT"])  # type: ignore[arg-type]
    with_, _ = policy_loss(
        *arguments,
        **settings,  # type: ignore[arg-type]
        ref_BT=tensors["ref_BT"],
        weights_BT=torch.full((2, 3), 7.0),
    )
    assert with_.item() == without.item() > 0


def kl_gradients(estimator: str) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients over 5 logits: of the estimator in expectation, of KL(pi|ref), of KL(ref|pi).

    The expectation over tokens drawn from pi is a sum over the whole vocabulary: each token is
    a row, weighted with its probability, which is a constant, as it is for drawn samples.
    """
    theta_V = torch.tensor([0.3, -1.0, 0.8, 0.0, -0.4], dtype=torch.float64, requires_grad=True)
    ref_V = torch.tensor([-0.2, 0.5, 0.1, 0.9, -1.3], dtype=torch.float64).log_softmax(0)
    log_V = theta_V.log_softmax(0)
    pi_V = log_V.exp()
    kl_B1 = KL_ESTIMATORS[estimator](
        log_V[:, None], log_V[:, None].detach(), ref_V[:, None], torch.ones(5, 1, dtype=torch.bool)
    )
    quantities = (
        (pi_V.detach() * kl_B1[:, 0]).sum(),
        (pi_V * (log_V - ref_V)).sum(),
        (ref_V.exp() * (ref_V - log_V)).sum(),
    )
    first, reverse, forward = (
        torch.autograd.grad(quantity, theta_V, retain_graph=True)[0] for quantity in quantities
    )
    assert quantities[0].item() == pytest.approx(quantities[1].item())  # the value is unbiased
    return first, reverse, forward


def test_gradient_of_k3_is_that_of_the_forward_kl() -> None:
    estimated, reverse, forward = kl_gradients("k3")
    assert torch.allclose(estimated, forward)
    assert not torch.allclose(estimated, reverse, atol=0.05)


def test_gradient_of_corrected_k3_is_that_of_the_reverse_kl() -> None:
    estimated, reverse, _ = kl_gradients("k3_corrected")
    assert torch.allclose(estimated, reverse)


def test_sums_add_up_over_micro_batches() -> None:
    logprobs_BT, tensors, mask_BT = inputs(0.0)
    parts = []
    for rows in (slice(0, 2), slice(0, 1), slice(1, 2)):
        _, sums = policy_loss(
            ALGORITHMS["grpo"],
            logprobs_BT[rows],
            tensors["old"][rows],
            torch.tensor([1.0, -1.0])[rows],
            mask_BT[rows],
            bounds=(0.01, 0.01),
            ref_BT=tensors["ref_BT"][rows],
            entropy_BT=tensors["entropy_BT"][rows],
            sampler_BT=tensors["sampler_BT"][rows],
        )
        parts.append(sums)
    joined = parts[1] + parts[2]
    assert joined.tokens.item() == 4
    for name, value in asdict(parts[0]).items():
        assert getattr(joined, name).item() == pytest.approx(value.item()), name


def test_every_objective_belongs_to_an_algorithm() -> None:
    used = {algorithm.objective for algorithm in ALGORITHMS.values()}
    assert used == set(LOSSES.values())


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_advantages_a_token(name: str) -> None:
    """One and the same at every token is one a sample; a row of its own leaves the others alone."""
    logprobs_BT, others, mask_BT = inputs(0.3)
    old_BT = others["old"]
    a_sample = LOSSES[name](logprobs_BT, old_BT, torch.tensor([1.5, -0.5]), mask_BT, 0.2, 0.2)
    same_BT = torch.tensor([[1.5], [-0.5]]).expand(mask_BT.shape).masked_fill(~mask_BT, math.nan)
    a_token = LOSSES[name](logprobs_BT, old_BT, same_BT, mask_BT, 0.2, 0.2)
    assert torch.equal(a_sample.loss_BT[mask_BT], a_token.loss_BT[mask_BT])
    assert torch.equal(a_sample.clipped_low_BT & mask_BT, a_token.clipped_low_BT & mask_BT)
    other_BT = same_BT.clone()
    other_BT[0, 1] = 4.0
    changed = LOSSES[name](logprobs_BT, old_BT, other_BT, mask_BT, 0.2, 0.2)
    differs_BT = (changed.loss_BT != a_token.loss_BT) & mask_BT
    assert differs_BT.nonzero().tolist() == [[0, 1]]


MOST = math.exp(20.0)  # the largest ratio, 4.85e8


@pytest.mark.parametrize(
    ("name", "log_ratio", "advantage", "loss", "gradient"),
    [
        # clipped at 1.28 with a good token: -1.28 A, and the bound has no gradient
        ("clipped", 199.0, 1.0, -1.28, 0.0),
        ("clipped", 89.0, 2.0, -2.56, 0.0),
        ("clipped", 1e4, 1.0, -1.28, 0.0),
        ("gspo", 199.0, 1.0, -1.28, 0.0),
        ("gspo", 1e4, 0.5, -0.64, 0.0),
        ("cispo", 199.0, 1.0, 1.28, -1.28),  # -1.28 A log pi with log pi = -1
        ("cispo", -1e4, -1.0, -0.8, 0.8),  # 0.8 log pi
        # a bad token that has become likelier is never bounded: the ratio's own largest value
        ("clipped", 199.0, -1.0, MOST, MOST),
        ("clipped", 1e4, -2.0, 2 * MOST, 2 * MOST),
        ("gspo", 199.0, -1.0, MOST, MOST),
        ("gspo", 1e4, -1.0, MOST, MOST),
        # the other side: exp runs out to 0
        ("clipped", -1e4, 1.0, 0.0, 0.0),
        ("clipped", -199.0, -1.0, 0.8, 0.0),
        ("gspo", -1e4, 1.0, 0.0, 0.0),
        ("gspo", -199.0, -1.0, 0.8, 0.0),
        ("clipped", 1e4, 0.0, 0.0, 0.0),
        ("gspo", -1e4, 0.0, 0.0, 0.0),
    ],
)
def test_an_extreme_ratio_has_the_gradient_of_its_branch(
    name: str, log_ratio: float, advantage: float, loss: float, gradient: float
) -> None:
    logprobs_BT = torch.tensor([[-1.0]], requires_grad=True)
    old_BT, mask_BT = torch.tensor([[-1.0 - log_ratio]]), torch.tensor([[True]])
    token = LOSSES[name](logprobs_BT, old_BT, torch.tensor([advantage]), mask_BT, 0.2, 0.28)
    token.loss_BT.sum().backward()
    assert logprobs_BT.grad is not None
    assert token.loss_BT.item() == pytest.approx(loss, rel=1e-4)
    assert logprobs_BT.grad.item() == pytest.approx(gradient, rel=1e-4)
    assert math.isfinite(token.ratio_BT.item())


@pytest.mark.parametrize("log_ratio", [-1e4, -200.0, -89.0, 21.0, 88.5, 89.0, 200.0, 1e4])
@pytest.mark.parametrize("estimator", sorted(KL_ESTIMATORS))
@pytest.mark.parametrize("advantage", [-1.5, 0.0, 1.5])
@ALL
def test_no_extreme_ratio_makes_a_loss_or_gradient_infinite(
    name: str, advantage: float, estimator: str, log_ratio: float
) -> None:
    """Everything at once, in float32, of the policy, the reference and the sampler."""
    logprobs_BT = torch.tensor([[-1.0, -1.0, -3.0]], requires_grad=True)
    far_BT = torch.tensor([[-1.0 - log_ratio, -1.5, math.nan]])
    mask_BT = torch.tensor([[True, True, False]])
    weights_BT = truncated_importance(logprobs_BT, far_BT, mask_BT, 2.0)
    assert weights_BT.isfinite().all() and weights_BT.max().item() <= 2.0
    loss, sums = policy_loss(
        ALGORITHMS[name],
        logprobs_BT,
        far_BT,
        torch.tensor([advantage]),
        mask_BT,
        bounds=(0.2, 0.28),
        ref_BT=torch.tensor([[-1.0 + log_ratio, -1.0, math.nan]]),
        kl_coefficient=0.001,
        kl_estimator=estimator,
        weights_BT=weights_BT,
        sampler_BT=far_BT,
    )
    loss.backward()
    assert logprobs_BT.grad is not None and logprobs_BT.grad.isfinite().all()
    assert loss.isfinite() and all(value.isfinite() for value in asdict(sums).values())


def test_ordinary_ratios_are_those_of_exp_to_the_bit() -> None:
    generator = torch.Generator().manual_seed(5)
    logprobs_BT = (torch.randn(8, 64, generator=generator) * 4).requires_grad_()
    old_BT = torch.randn(8, 64, generator=generator)
    mask_BT = torch.ones(8, 64, dtype=torch.bool)
    plain_BT = (logprobs_BT - old_BT).exp()
    (expected_BT,) = torch.autograd.grad(plain_BT.sum(), logprobs_BT)
    token = clipped(logprobs_BT, old_BT, -torch.ones(8), mask_BT, 0.2, 1e9)
    assert torch.equal(token.ratio_BT, plain_BT)
    (gradient_BT,) = torch.autograd.grad(token.ratio_BT.sum(), logprobs_BT)
    assert torch.equal(gradient_BT, expected_BT)


def test_the_reference_far_above_the_policy() -> None:
    # k3 = r - log r - 1 with log r = 199: e^20 - 200, and the gradient 1 - r = 1 - e^20
    logprobs_BT = torch.tensor([[-200.0]], requires_grad=True)
    kl_BT = kl_k3(logprobs_BT, logprobs_BT, torch.tensor([[-1.0]]), torch.tensor([[True]]))
    kl_BT.sum().backward()
    assert logprobs_BT.grad is not None
    assert kl_BT.item() == pytest.approx(MOST - 200, rel=1e-5)
    assert logprobs_BT.grad.item() == pytest.approx(1 - MOST, rel=1e-5)


# Supervised fine-tuning ---------------------------------------------------------------------------


def test_token_losses_by_hand() -> None:
    # e^logit is (1, 3, 4) and (2, 1, 1): the targets' probabilities are 3/8 and 2/4
    logits = torch.tensor([[1.0, 3.0, 4.0], [2.0, 1.0, 1.0]], dtype=torch.float64).log()
    losses, likeliest = token_losses(logits, torch.tensor([1, 0]))
    assert losses.tolist() == pytest.approx([math.log(8 / 3), math.log(2)], abs=1e-12)
    assert likeliest.tolist() == [False, True]


def test_the_gradient_of_token_losses_by_hand() -> None:
    # d(-log p_t)/dz = p - one_hot(t)
    logits = torch.tensor([[1.0, 3.0, 4.0]], dtype=torch.float64).log().requires_grad_()
    token_losses(logits, torch.tensor([1]))[0].sum().backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([1 / 8, 3 / 8 - 1, 4 / 8], abs=1e-12)


def test_bfloat16_token_losses_are_summed_in_float32() -> None:
    losses, _ = token_losses(torch.zeros(2, 9, dtype=torch.bfloat16), torch.tensor([0, 1]))
    assert losses.dtype == torch.float32
    assert losses.tolist() == pytest.approx([math.log(9)] * 2, abs=1e-6)
