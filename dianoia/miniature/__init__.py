"""The miniature: a small world in which the paper's results can be seen in minutes on two cores.

It is a plugin (`plugin.py` lists what it adds) that the rest of Dianoia knows by name alone. From the bottom up:

    chains, stories, programs, choices, logic    reasoning problems, with the derivations that authors write for them
    requests, safety, wordings                   general and harmful requests, near misses, and how they are worded
    authors                                      an author's habits: language, slips, checks
    annotators                                   what people like: verifier, judge of preferences, demonstrations
    derivation_parser, rewriter                  reads sampled thoughts back and writes them out in sentences
    problems, corpus, tokenizer                  problem sets, documents for pretraining, tokenizer
"""
