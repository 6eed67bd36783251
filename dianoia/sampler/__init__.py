"""Samplers: problems in, rollouts out; below that, token ids in, sampled token ids with their log-probabilities out.

`rollouts` puts template, tokenizer and engine together, `interface` is the contract of an engine, `factory` chooses one:
`native` (C on a CPU, PyTorch elsewhere) or `transformers`; `served` has servers draw. `draw` is how a token is drawn. Not here: scores (`judge`).
"""
