"""Digests of weights: one per value, whatever the layout."""

import torch

from dianoia.distributed.digests import value_digest, weights_digest


def test_a_digest_shows_a_single_bit_and_the_order() -> None:
    weights = [torch.randn(7, 3), torch.randn(5)]
    digest = weights_digest(weights)
    assert digest == weights_digest([tensor.clone() for tensor in weights])
    assert len(digest) == 16
    changed = [weights[0].clone(), weights[1]]
    changed[0].view(torch.int32)[2, 1] += 1
    assert weights_digest(changed) != digest
    assert weights_digest(weights[::-1]) != digest
    assert weights_digest([weights[0].T.contiguous().T, weights[1]]) == digest
    assert weights_digest([torch.zeros(2)]) != weights_digest([torch.zeros(3)])


def test_every_size_of_element_has_a_digest() -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.uint8, torch.bool):
        one, zero = torch.ones(3).to(dtype), torch.zeros(3).to(dtype)
        assert weights_digest([one]) != weights_digest([zero])


def test_a_value_has_the_digest_of_its_text() -> None:
    # printf "[(1, 2)]" | b2sum -l 64
    assert value_digest([(1, 2)]) == "413b0793ecf8df5c"
    assert value_digest([(1, 2)]) != value_digest([(2, 1)])
