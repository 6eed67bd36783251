"""Problems of reasoning-gym, an optional package: generated without end, each task with its own rule."""

from dianoia.tasks.gym.generated_problems import PREFIX, GymProblems, gym_problems
from dianoia.tasks.gym.gym_tasks import GYM, OFFERED, REFUSED

__all__ = ["GYM", "OFFERED", "PREFIX", "REFUSED", "GymProblems", "gym_problems"]
