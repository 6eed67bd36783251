"""Samplers: token ids in, sampled token ids with their log-probabilities out.

Start with `dianoia.sampler.factory.make_sampler`; the contract is
`dianoia.sampler.interface.Sampler`.
"""
