"""Samplers: token ids in, sampled token ids with their log-probabilities out.

Start with `dianoia.engine.factory.make_sampler`; the contract is
`dianoia.engine.interface.Sampler`.
"""
