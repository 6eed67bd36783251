"""The `rl` stage: the loop of DeepSeek-R1 section 2.1, in four verbs: rollout, score, advantage, update.

In: a start checkpoint and problems with verifiers. Out: a checkpoint, `metrics.jsonl` (one row per optimizer step),
`diagnoses.jsonl`, rollouts to read, and a state from which an interrupted stage resumes bit for bit: the policy, optimizer,
reference and value model, the step, and the position in each stream of problems. Every random draw derives from (seed,
problem number, sample), so there is no generator state to keep. With `rollouts.staleness` the state also holds the rollouts that
were drawn ahead, and a stop waits for those that are being drawn.

Problems come from one set, or, where the recipe has `preferences`, from several: general prompts that reward models score
next to problems with verifiers (section 3.2), mixed in every minibatch (`judge.problem_sets`). Decisions where the paper is
silent stand in `config.rl`, `config.rewards` and `judge.reward_model_part`.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from dianoia.algo.advantage import centred, group_normalised, informative
from dianoia.base.errors import Stopped, TrainingStopped
from dianoia.base.records import (
    Group,
    Purpose,
    Rollout,
    RolloutGroup,
    RolloutStatus,
    Sample,
)
from dianoia.base.stopping import sampling_may_be_given_up
from dianoia.config.rl import RLStage
from dianoia.distributed.group import ranks
from dianoia.judge.judge import Judge, reward_weights
from dianoia.judge.problem_sets import Draw, problem_sets
from dianoia.judge.reward_part import ScoringState
from dianoia.learner.batching.batch import PreparedSample, split_minibatches
from dianoia.learner.policy import PolicyLearner
from dianoia.learner.step_metrics import UpdateMetrics
from dianoia.metrics.history import History
from dianoia.metrics.recorder import Recorder
from dianoia.metrics.training_metrics import age_row, update_row
from dianoia.metrics.votes import with_votes
from dianoia.sampler.drawn_ahead import AheadBatch, DrawnAhead
from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.rollouts import RolloutSampler
from dianoia.stages._shared import Training
from dianoia.stages.context import StageContext
from dianoia.tasks.catalog import training_sample

Advantages = list[tuple[float, ...]]
"""Advantage of each sample, per group; empty where a value model gives one per token."""


def run(config: RLStage, context: StageContext) -> None:
    """Train to the last step, from the state if there is one, and write the checkpoint."""
    with closing(ReinforcementLearning(config, context)) as training:
        training.resume()
        while training.step < config.steps:
            training.stop_if_requested(config.steps)
            training.train_on_rollout()
        training.finish()


class ReinforcementLearning(Training):
    """The three roles of one stage, and how far the stage has come."""

    learner: PolicyLearner

    def __init__(self, config: RLStage, context: StageContext) -> None:
        self.config, self.context = config, context
        self.problem_sets = problem_sets(config, context.seed)
        # Graders and reward models first: a model that cannot be loaded ends the stage before the policy is read.
        self.judge, heldout_judge = context.judges(config)
        self.start = context.language_model(config.start, config.lora)
        self.roller = context.rollout_sampler(self.start, config)
        self.ahead: DrawnAhead | None = None
        if config.rollouts.staleness:
            # Several ranks exchange completions, which only one thread of each may do.
            alone = ranks().size == 1
            self.ahead = DrawnAhead(self.roller, in_background=config.rollouts.served and alone)
        self.begun: deque[tuple[dict[str, int], dict[str, int]]] = deque()
        """Positions and counts of the problems of each rollout that is drawn ahead."""
        self.rollouts_done = 0
        self.tokens = 0  # of all responses sampled, learnt from or not
        try:
            self.prepare(config, context, heldout_judge)
        except BaseException:
            self.close()  # servers, which would otherwise outlive the stage
            raise

    def prepare(self, config: RLStage, context: StageContext, heldout_judge: Judge) -> None:
        """Make the recorder and the learner, once the sampler is there."""
        # Text templates have a place for every message, and drawing problems may take a while.
        if self.roller.template.chat:
            for problem_set in self.problem_sets.sets.values():
                self.roller.check_messages(training_sample(problem_set.source))
                self.roller.check_messages(problem_set.source.heldout(config.progress.problems))
        trained_under = self.start.other_template(config.start, context.template(config.template))
        self.recorder = _recorder(
            config, context, self.roller, self.judge, heldout_judge, trained_under
        )
        self.learner = context.policy_learner(self.start, config)

    def train_on_rollout(self) -> None:
        """Take one rollout and the optimizer steps that it is split into: rollout, score, advantage, update."""
        with self.saving_if_given_up():
            groups = self.score(self.rollout())
            for missing in self.further_rounds(groups):
                groups += self.score(self.draw(missing))
        selected = self.select(groups)
        advantages = [self.advantage(group) for group in selected]
        self.record(groups, selected, advantages)
        for minibatch in self.split(selected, advantages):
            with self.recorder.timing("update_seconds"), self.saving_on_stop(selected, advantages):
                metrics = self.learner.update(minibatch)
                self.publish()  # cheap: weights are copied once, when the next rollout begins
            self.end_step(metrics)
            ranks().begin("update", self.step)
        self.rollouts_done += 1
        if self.rollouts_done % self.config.checkpoint_every == 0:
            self.save()

    # Rollout and score ---------------------------------------------------------------------------

    def rollout(self) -> list[RolloutGroup]:
        """Return the next rollout: sampled now, or ahead, with the weights of `staleness` rollouts before."""
        ranks().begin("sample", self.step)
        if self.ahead is None:
            return self.draw(self.config.problem_counts(self.step))
        with self.recorder.timing("generate_seconds"):
            self.draw_ahead(self.ahead)
            positions, counts = self.begun.popleft()
            return _groups(self.problem_sets.at(positions, counts), self.ahead.take())

    def draw(self, counts: Mapping[str, int]) -> list[RolloutGroup]:
        """Sample the next `counts` problems of each problem set, a group of responses per problem."""
        ranks().begin("sample", self.step)
        draws = self.next_problems(counts)
        batch = self.batch(draws, self.step)
        with self.recorder.timing("generate_seconds"):
            self.take_sampler()
            rollouts_PG = self.roller.with_keys(
                batch.keys, batch.problems, batch.samples, batch.params
            )
        return _groups(draws, rollouts_PG)

    def draw_ahead(self, ahead: DrawnAhead) -> None:
        """Begin rollouts with the present weights until `staleness` of them wait behind the next one."""
        update = WeightUpdate(self.step, self.learner.weights())
        last = self.config.rollout_count - self.rollouts_done
        while len(ahead) < min(self.config.rollouts.staleness + 1, last):
            step = self.step + len(ahead) * self.config.minibatches
            counts = self.config.problem_counts(step)
            self.begun.append((self.problem_sets.positions(), counts))
            ahead.begin(self.batch(self.next_problems(counts), step), update)

    def next_problems(self, counts: Mapping[str, int]) -> list[Draw]:
        """Return the next `counts` problems of each problem set, and print what was wrong with rows of their files."""
        draws = self.problem_sets.next(counts)
        for line in self.problem_sets.skipped_rows():
            self.context.print_line(line)
        return draws

    def batch(self, draws: Sequence[Draw], step: int) -> AheadBatch:
        """Return problems with the sampling parameters of the rollout that begins at a step."""
        sampling = self.config.sampling
        params = self.roller.sampling_params(
            sampling.max_tokens_at(step), sampling.temperature, sampling.top_p, sampling.top_k
        )
        keys, problems = [draw.key for draw in draws], [draw.problem for draw in draws]
        return AheadBatch(keys, problems, self.config.group_size, params)

    def take_sampler(self) -> None:
        """Have the sampler for a call of this thread, with the present weights; it has them without rollouts ahead."""
        if self.ahead is not None:
            self.ahead.finish()
            self.roller.sampler.load(WeightUpdate(self.step, self.learner.weights()))

    @contextmanager
    def saving_if_given_up(self) -> Iterator[None]:
        """Let sampling and LLM judges in the block be given up, and then save the state from before it.

        No weight changes in the block.
        """
        # Rollouts ahead have older weights than a state: they are drawn to their end.
        if self.ahead is not None:
            yield
            return
        before = self.progress()  # the block moves on in the problem sets
        try:
            with sampling_may_be_given_up():
                yield
        except Stopped:
            # Ranks that hold the model together would have to save together, and the others still sample.
            if self.rollouts_done and self.context.sharding is None:
                self.save(before)
            point = self.point(self.config.steps)
            raise Stopped(f"{point}, in a rollout that is drawn again") from None

    def score(self, groups: Sequence[RolloutGroup]) -> list[Group]:
        """Return the groups with their scores and votes."""
        ranks().begin("score", self.step)
        with self.recorder.timing("score_seconds"):
            state = ScoringState(self.step, self.config.steps, self.max_tokens)
            scored = with_votes(self.judge.score(groups, state))
        # Rollouts that are not learnt from have cost their tokens too.
        self.tokens += sum(len(r.completion.ids) for group in scored for r in group.rollouts)
        return scored

    def further_rounds(self, groups: Sequence[Group]) -> Iterator[dict[str, int]]:
        """Yield how many problems of each set to sample in place of uniform groups (DAPO's dynamic sampling).

        `groups` grow between two rounds. There is no further round once every set has enough informative groups.
        """
        algorithm, counts = self.config.algorithm, self.config.problem_counts(self.step)
        for _ in range(algorithm.dynamic_rounds if algorithm.dynamic_sampling else 0):
            useful = Counter(group.purpose for group in groups if informative(group.rewards_G))
            missing = {
                name: count for name, count in counts.items() if useful[Purpose(name)] < count
            }
            # At most `dynamic_rounds`: a set that is solved or hopeless would be sampled forever.
            if not missing:
                return
            yield missing

    def select(self, groups: list[Group]) -> list[Group]:
        """Return the groups to learn from: of each set the informative ones first, uniform ones to fill up.

        Uniform groups have no gradient of the reward, and minibatches still divide.
        """
        if not self.config.algorithm.dynamic_sampling:
            return groups
        selected = []
        for name, count in self.config.problem_counts(self.step).items():
            members = [group for group in groups if group.purpose == name]
            useful = [group for group in members if informative(group.rewards_G)]
            uniform = [group for group in members if not informative(group.rewards_G)]
            # In the order of sampling, so that the selection is the same after a restart.
            selected += (useful + uniform)[:count]
        return selected

    @property
    def max_tokens(self) -> int:
        """The limit on response tokens at this step."""
        return self.config.sampling.max_tokens_at(self.step)

    # Advantage and update ------------------------------------------------------------------------

    def advantage(self, group: Group) -> tuple[float, ...]:
        """Return the advantage of each sample relative to its group; Dr. GRPO only centres rewards.

        Empty for PPO, whose learner gives every token its own.
        """
        # An empty tuple: the value model replaces it in `PolicyLearner.prepare`.
        if self.config.algorithm.name == "ppo":
            return ()
        if self.config.algorithm.name == "dr_grpo":
            return centred(group.rewards_G)
        return group_normalised(group.rewards_G, self.config.algorithm.std_epsilon)

    def split(self, groups: Sequence[Group], advantages: Advantages) -> list[list[PreparedSample]]:
        """Return the minibatches of a rollout; reference log-probabilities are computed here, once."""
        ranks().begin("update", self.step)
        samples, indices, left_out = _samples(groups, advantages, self.config)
        # The limit may rise with the step; Dr. GRPO divides by it.
        self.learner.max_tokens = self.max_tokens
        with self.recorder.timing("update_seconds"):
            prepared = self.learner.prepare(samples, left_out)
        # One shuffle per rollout, the same after a restart.
        # A large factor, so that rollouts of neighbouring run seeds do not share a shuffle.
        seed = self.context.seed * 1_000_003 + self.rollouts_done
        sets = [group.purpose.value for group in groups]
        minibatches = split_minibatches(
            indices, self.config.minibatches, self.config.split, seed, sets
        )
        return [[prepared[index] for index in minibatch] for minibatch in minibatches]

    @contextmanager
    def saving_on_stop(self, groups: Sequence[Group], advantages: Advantages) -> Iterator[None]:
        """Save the rollouts of the step, to be read, if training has to stop in the block; no weight has changed then."""
        try:
            yield
        except TrainingStopped as error:
            name = f"stopped-{self.step:05d}"
            path = self.recorder.save_rollouts(name, self.step, groups, advantages)
            raise TrainingStopped(f"{error}\nThe rollouts of this step: {path}") from error

    def end_step(self, metrics: UpdateMetrics) -> None:
        """Write the row of an optimizer step, with a point of the held-out curve where one is due."""
        self.learner.release_gradients()  # the sampler needs the memory
        self.evaluate()
        row = {"rollout": self.rollouts_done, "num_tokens": self.tokens, **update_row(metrics)}
        self.recorder.write(metrics.step, row)

    def publish(self) -> None:
        """Hand the policy's weights to the sampler, which copies them when it next generates; with rollouts ahead, each call does."""
        if self.ahead is None:
            self.roller.sampler.load(WeightUpdate(self.step, self.learner.weights()))

    # Metrics -------------------------------------------------------------------------------------

    def record(
        self, groups: Sequence[Group], selected: Sequence[Group], advantages: Advantages
    ) -> None:
        """Record the metrics of all `groups`, and save the rollouts to learn from every so many rollouts."""
        # Metrics are of all groups that were sampled, rollouts to read of those that are learnt from.
        self.recorder.rollout(self.step, groups, self.judge.figures())
        if self.ahead is not None:
            self.recorder.row |= age_row(self.step, selected)
        if self.rollouts_done % self.config.progress.rollouts_every == 0:
            self.recorder.save_rollouts(f"step-{self.step:05d}", self.step, selected, advantages)

    def evaluate(self) -> None:
        """Add a point of the held-out curve at the first step, the last, and every so many."""
        settings, step = self.config.progress, self.step
        ranks().begin("evaluate", step)
        if settings.problems and (step % settings.every == 0 or step == self.config.steps):
            params = self.roller.sampling_params(
                self.max_tokens, settings.temperature, settings.top_p
            )
            problems = self.problem_sets.sets[Purpose.REASONING].source.heldout(settings.problems)
            self.take_sampler()
            self.recorder.curve(step, problems, params, self.problem_sets.general)

    # State and checkpoint ------------------------------------------------------------------------

    def resume(self) -> None:
        """Resume from the state; or begin, with the held-out point of the start model."""
        progress = self.load_state()
        if progress is None:  # row 0 of the metrics is the start model
            self.recorder.open(0)
            self.publish()
            self.evaluate()
            self.recorder.write(0, {})
            return
        self.rollouts_done, self.tokens = progress["at"]
        # Each reads its own part of one table.
        self.problem_sets.load_state(progress["scenarios"])
        self.judge.load_state(progress["scenarios"])
        self.recorder.open(self.step, progress["history"])
        self.publish()
        if self.ahead is not None:
            self.begun.extend(progress["begun"])
            steps = [self.step + n * self.config.minibatches for n in range(len(self.begun))]
            batches = [
                self.batch(self.problem_sets.at(*begun), step)
                for begun, step in zip(self.begun, steps, strict=True)
            ]
            self.ahead.load_state(batches, progress["ahead"])

    def progress(self) -> dict[str, Any]:
        """Return positions in the problem sets, the judge's state and the history of metrics."""
        progress = {
            "at": (self.rollouts_done, self.tokens),
            "scenarios": self.problem_sets.state() | self.judge.state(),
            "history": self.recorder.state(),
        }
        if self.ahead is not None:
            progress |= {"begun": list(self.begun), "ahead": self.ahead.state()}
        return progress

    def write_checkpoint(self, folder: Path) -> None:
        """Write model and tokenizer, asked as in training."""
        usage = self.context.usage(self.start, self.context.template(self.config.template))
        self.learner.save(folder, self.start.tokenizer, usage)

    def close(self) -> None:
        """End servers and threads of the stage."""
        close = getattr(self.roller.sampler, "close", None)
        if close is not None:
            close()
        if self.ahead is not None:
            self.ahead.close()


def _groups(draws: Sequence[Draw], rollouts_PG: Sequence[Sequence[Rollout]]) -> list[RolloutGroup]:
    return [
        RolloutGroup(draw.problem, tuple(rollouts_G), draw.purpose)
        for draw, rollouts_G in zip(draws, rollouts_PG, strict=True)
    ]


def _recorder(
    config: RLStage,
    context: StageContext,
    roller: RolloutSampler,
    judge: Judge,
    heldout_judge: Judge,
    trained_under: str | None,
) -> Recorder:
    """Return the recorder, with the weights of the reward where reward models take part."""
    # PPO's rewards need not differ within a group, so flat groups are no alarm there.
    settings, is_relative = config.preferences, config.algorithm.name != "ppo"
    weights = None if settings is None else reward_weights(config.rewards, settings)
    from_step = 0 if settings is None else settings.from_step
    history = History(is_relative, weights, from_step, judge.functions, trained_under)
    # Rollouts of this process, drawn with the newest weights, are those of their step.
    with_versions = config.rollouts.served or config.rollouts.staleness > 0
    return Recorder(
        context, roller, config.progress, history, weights, judge, heldout_judge, with_versions
    )


def _samples(
    groups: Sequence[Group], advantages: Advantages, config: RLStage
) -> tuple[list[Sample], list[list[int]], list[bool]]:
    """Return samples in one list, their indices per group, and which are left out of the loss."""
    samples: list[Sample] = []
    indices: list[list[int]] = []
    left_out: list[bool] = []
    for group, group_advantages in zip(groups, advantages, strict=True):
        advantages_G = group_advantages or (0.0,) * len(group.rollouts)
        indices.append(list(range(len(samples), len(samples) + len(group.rollouts))))
        rows = zip(group.rollouts, advantages_G, group.rewards_G, strict=True)
        for rollout, advantage, reward in rows:
            completion = rollout.completion
            samples.append(
                Sample(rollout.prompt_ids, completion.ids, completion.logprobs, advantage, reward)
            )
            # Masked samples keep their place, so that minibatches still divide evenly.
            is_truncated = rollout.status is RolloutStatus.TRUNCATED
            left_out.append(is_truncated and config.algorithm.mask_truncated)
    return samples, indices, left_out
