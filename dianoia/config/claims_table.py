"""The `[claims]` table: which checkpoint of a recipe plays which part of the paper.

A checkpoint is named by its stage, or as an evaluate stage names it. Claims whose parts are all named are decided, the
others are not (`dianoia.claims`).
"""

from dianoia.config.settings import Settings


class ClaimsSettings(Settings):
    """Checkpoint by part of the paper. All are optional."""

    # The chain of the paper's figure 2 in the order of training, then the comparisons. The order here and in `parts` is
    # the same.
    base: str | None = None
    """The model before any reinforcement learning (the paper: DeepSeek-V3-Base)."""
    zero: str | None = None
    """R1-Zero: reinforcement learning on the base."""
    dev1: str | None = None
    """R1 Dev1: the base after the cold start."""
    dev2: str | None = None
    """R1 Dev2: Dev1 after reasoning RL with the language reward."""
    dev3: str | None = None
    """R1 Dev3: the base after the large fine-tuning."""
    r1: str | None = None
    """R1: Dev3 after RL for all scenarios."""
    # The distilled student against RL on the same small model (the paper's comparison of distillation and RL).
    distilled: str | None = None
    """A small model fine-tuned on the same samples as Dev3."""
    small_base: str | None = None
    """The small model before that."""
    small_zero: str | None = None
    """The small model after RL of its own."""
    # The two algorithms of A.3, PPO with either lambda.
    grpo: str | None = None
    """GRPO, compared with PPO (A.3); may be the same as `zero`."""
    ppo: str | None = None
    """PPO with lambda = 1."""
    ppo_095: str | None = None
    """PPO with lambda = 0.95."""
    overoptimized: str | None = None
    """An rl stage that stays under the helpful reward model for too long (B.5)."""

    @property
    def parts(self) -> dict[str, str]:
        """Checkpoint by part, in the paper's order, of the parts that are named."""
        checkpoints = {
            "base": self.base,
            "zero": self.zero,
            "dev1": self.dev1,
            "dev2": self.dev2,
            "dev3": self.dev3,
            "r1": self.r1,
            "distilled": self.distilled,
            "small_base": self.small_base,
            "small_zero": self.small_zero,
            "grpo": self.grpo,
            "ppo": self.ppo,
            "ppo_095": self.ppo_095,
            "overoptimized": self.overoptimized,
        }
        # A part that is not named is absent, and not None: claims are decided where all of their parts are here.
        return {part: name for part, name in checkpoints.items() if name is not None}
