"""Estimate of the main memory that a stage needs on a node, part by part. No torch.

In: a stage's table, the size of its model, the ranks (`plan.layout`), what a rank needs of its device. Out: the `Phase` in which
the node of rank 0 needs most. With GPUs that is what their processes keep beside the device: a folder while it is read, the
rollouts of a step, a state or a checkpoint on its way to the disk. On a CPU main memory is the device, so a node needs what its
ranks need, and rank 0 what it writes.
"""

from dianoia.base.limits import EVALUATED_AT_ONCE, HOST_SHARE
from dianoia.config import EvaluateStage, PreferencesStage, RLStage, SampleStage
from dianoia.hardware.machine import Machine
from dianoia.recipe.graph import Stage
from dianoia.recipe.plan.disk import MOST_FILLED, stage_needs
from dianoia.recipe.plan.layout import Layout
from dianoia.recipe.plan.memory import Phase
from dianoia.recipe.plan.model_sizes import Size

PROCESS = 2.0e9
"""Guess for the bytes of main memory of a process that uses a GPU: Python, PyTorch, the libraries of CUDA."""
_FLOAT32 = 4
_TOKEN = 80
"""Bytes per sampled token: its id and log-probability as Python numbers in two tuples (8 + 32 and 8 + 24), and its text."""
_SHARD_BYTES = 5e9
"""Bytes of a safetensors file, as transformers cuts a checkpoint: weights of a GPU are copied file by file."""


def host_memory(
    stage: Stage,
    size: Size,
    machine: Machine,
    layout: Layout,
    rank: Phase,
    main: float | None = None,
) -> Phase:
    """Return the phase in which the node of rank 0 needs most main memory.

    `rank`: the phase of a rank that needs most memory of its device; `main`: bytes of main memory of a node, None: unknown.
    """
    ranks = layout.node_ranks
    processes = {"ranks": ranks * (rank.bytes if machine.cpu else PROCESS)}
    rollouts = (
        {}
        if machine.cpu
        else {"rollouts": float(ranks * _TOKEN * MOST_FILLED * _sampled_tokens(stage))}
    )
    weights = float(_FLOAT32 * size.parameters)
    # Every rank reads the folder for itself, unless they read it once to share it out.
    read = {"folder that is read": weights * (1 if layout.sharded else ranks) * (not machine.cpu)}
    state = stage_needs(stage, size).state
    # A state that is too large to be gathered is written in parts, each by the rank that has it.
    is_gathered = layout.sharded and (main is None or state <= HOST_SHARE * main)
    written = {
        "gathered state": state if is_gathered else 0.0,
        "state": 0.0 if layout.sharded or machine.cpu else min(state, _SHARD_BYTES),
    }
    checkpoint = 0.0
    if state:
        checkpoint = weights if layout.sharded else min(weights, _SHARD_BYTES) * (not machine.cpu)
    phases = (
        Phase("loading", {**processes, **read}),
        Phase("writing a state", {**processes, **rollouts, **written}),
        Phase("writing a checkpoint", {**processes, **rollouts, "checkpoint": checkpoint}),
    )
    return max(phases, key=lambda phase: phase.bytes)


def _sampled_tokens(stage: Stage) -> int:
    """Return the most tokens of responses that exist at one time."""
    match stage:
        case RLStage():
            return stage.rollout_size * stage.sampling.largest_max_tokens
        case SampleStage() | PreferencesStage():
            return stage.problems_per_batch * stage.samples * stage.sampling.max_tokens
        case EvaluateStage():
            return min(EVALUATED_AT_ONCE, stage.limit) * stage.samples * stage.max_tokens
        case _:
            return 0
