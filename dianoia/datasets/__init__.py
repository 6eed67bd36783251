"""Builds data sets from rollouts and files.

`sample_builder` and `selection` make supervised samples, `preference_builder`, `pairs` and `llm_preferences` judged pairs and
labels, `tokenized` and `preference_data` what `sft` and `reward_model` stages learn from. Not here: the columns on disk
(`storage`) and sampling itself (`sampler`).
"""
