"""The miniature's problems: stories as `Problem`s, endless for training, a fixed list held out."""

import random

from dianoia.base.records import Problem
from dianoia.tasks.miniature.chains import STEPS, Split, draw_chain
from dianoia.tasks.miniature.wording import LANGUAGES, Story, tell


def draw_story(rng: random.Random, split: Split) -> Story:
    """A story of uniform difficulty, in either language."""
    return tell(draw_chain(rng, rng.choice(STEPS), split), rng.choice(LANGUAGES), rng)


def as_problem(story: Story) -> Problem:
    """The story as a problem; its id is the chain's signature and the language."""
    return Problem(
        id=f"{story.language}:{story.chain.signature}",
        question=story.question,
        answer=str(story.chain.result),
        verifier="number",
        domain="math",
        language=story.language,
        difficulty=len(story.chain.operations),
    )


class MiniatureMath:
    """Word chains of arithmetic. Training problems are numbered without end; one seed names one stream."""

    def draw(self, seed: int, start: int, count: int) -> list[Problem]:
        """Training problems `start` to `start + count - 1` of the stream that `seed` names."""
        return [self._training_problem(seed, index) for index in range(start, start + count)]

    def _training_problem(self, seed: int, index: int) -> Problem:
        return as_problem(draw_story(random.Random(f"train-{seed}-{index}"), Split.TRAIN))

    def heldout(self, limit: int) -> list[Problem]:
        """The first `limit` of a fixed list of held-out problems, all different."""
        found: dict[str, Problem] = {}
        rng = random.Random("heldout")
        while len(found) < limit:
            problem = as_problem(draw_story(rng, Split.HELDOUT))
            found.setdefault(problem.id, problem)
        return list(found.values())

    @property
    def languages(self) -> frozenset[str]:
        """English and Chinese."""
        return frozenset(LANGUAGES)
