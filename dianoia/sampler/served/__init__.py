"""Rollouts from servers: vLLM, or `dianoia serve --rollouts`, over HTTP. vLLM is never imported.

`served_sampler` implements `interface.Sampler`; `fleet` deals samples to servers and survives their ends; `connection` speaks to one server,
`token_route` is its route for token ids; `weight_folders` writes each version of the weights, `weight_load` has a server load it, `proof`
compares the server's log-probabilities with those of the weights (`streamed_model`); `processes` starts servers and ends them.
"""
