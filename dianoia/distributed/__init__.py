"""Ranks: processes that run one stage side by side, and what they exchange.

A stage asks `group.ranks()` for the group of its process. A process by itself is a group of one, in which every exchange
is the identity, so that no caller asks whether there are several. torch.distributed carries the exchange: gloo between CPUs,
NCCL between GPUs. Imports no other room than `base` and `hardware`.

    placement      which rank a process is, and where it meets the others; reads torchrun's environment; no torch
    group          the group of one, and the group of this process
    process_group  a group of several processes: gather, broadcast, sums of gradients, the same counter for all
    object_bytes   objects as bytes, their arrays uncopied
    gradients      sums of gradients, on a CPU in the order of the lanes, or of the ranks of a model in shards
    digests        short digests of weights and values, by which ranks notice that they have come apart
    watch          beats, by which ranks notice that one of them hangs or has ended

Not here: who starts the processes (`pipeline`, or a launcher such as torchrun), and how a model is split (`learner`).
"""
