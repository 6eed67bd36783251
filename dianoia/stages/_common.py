"""What several stages do alike."""

from transformers import PreTrainedModel

from dianoia.base.config import OptimizerSettings
from dianoia.learner.descent import Descent


def descent_of(
    model: PreTrainedModel, chosen: OptimizerSettings, steps: int, what: str = "Training"
) -> Descent:
    """The optimizer that a recipe asks for, over `steps` optimizer steps."""
    return Descent(
        model,
        learning_rate=chosen.learning_rate,
        schedule=chosen.schedule,
        warmup_steps=chosen.warmup_steps,
        total_steps=steps,
        floor=chosen.floor,
        betas=(chosen.beta1, chosen.beta2),
        adam_epsilon=chosen.epsilon,
        weight_decay=chosen.weight_decay,
        max_grad_norm=chosen.max_grad_norm,
        stop_grad_norm=chosen.stop_grad_norm,
        what=what,
    )
