"""The `rl` stage: the loop of DeepSeek-R1 section 2.1, in four verbs: rollout, score, advantage, update.

In: a start checkpoint and problems with verifiers. Out: a checkpoint, `metrics.jsonl` (a row an optimizer
step), `diagnoses.jsonl`, rollouts to read, and a state from which an interrupted stage goes on as if it had
never stopped: the policy, optimizer, reference and value model, the step, and the place in each stream of problems.
Every random draw derives from (seed, problem number, sample), so there is no generator state to keep.

Problems come from one set, or, where the recipe has `preferences`, from several: general prompts that reward
models score beside problems with verifiers (section 3.2), mixed in every minibatch (`judge.problem_sets`).
Decisions where the paper is silent stand in `config.rl`, `config.rewards` and `judge.reward_model_part`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from transformers import PreTrainedModel

from dianoia.algo.advantage import centred, group_normalised, informative
from dianoia.base.disk_space import release_space
from dianoia.base.errors import TrainingStopped
from dianoia.base.files import whole_folder
from dianoia.base.records import Group, Purpose, RolloutGroup, RolloutStatus, Sample, SamplingParams
from dianoia.base.stopping import stop_if_requested
from dianoia.config import RLStage
from dianoia.judge.judge import Judge, evaluation_judge, grader_of, reward_weights, training_judge
from dianoia.judge.problem_sets import problem_sets
from dianoia.judge.reward_part import ScoringState
from dianoia.learner.batching.batch import PreparedSample
from dianoia.learner.batching.minibatches import split_minibatches
from dianoia.learner.logprobs import load_model, load_tokenizer
from dianoia.learner.policy import PolicyLearner
from dianoia.metrics.history import History
from dianoia.metrics.recorder import Recorder
from dianoia.metrics.training_metrics import update_row
from dianoia.metrics.votes import with_votes
from dianoia.sampler.factory import DTYPES, make_sampler
from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.rollouts import RolloutSampler, named_template, stop_ids
from dianoia.storage.context import Context

Advantages = list[tuple[float, ...]]


def run(config: RLStage, context: Context) -> None:
    """Train to the last step, from the state if there is one, and write the checkpoint."""
    training = _Training(config, context)
    training.resume()
    while training.learner.step < config.steps:
        stop_if_requested(training.save if training.rollouts_done else None)
        training.turn()
    training.finish()


class _Training:
    """The three roles of one stage in one process, and where in the run they are."""

    def __init__(self, config: RLStage, context: Context) -> None:
        self.config, self.context = config, context
        grader = grader_of(config.rewards, context)
        self.problem_sets = problem_sets(config, context.seed)
        self.judge = training_judge(config, context, grader)
        source = context.resolve(config.start)
        model, self.tokenizer = load_model(source, device=context.device), load_tokenizer(source)
        self.stops = stop_ids(model, self.tokenizer)
        sampler = make_sampler(
            model, slots=config.sampling.slots, dtype=DTYPES[config.sampling.dtype]
        )
        self.roller = RolloutSampler(sampler, self.tokenizer, named_template(config.template))
        heldout_judge = evaluation_judge(config.rewards, grader)
        self.recorder = _recorder(config, context, self.roller, self.judge, heldout_judge)
        self.learner = _learner(model, config)
        self.rollouts_done, self.tokens = 0, 0

    def turn(self) -> None:
        """One rollout and the optimizer steps it is split into."""
        drawn = self.rollout()
        groups = self.chosen(drawn)
        advantages = [self.advantages(group) for group in groups]
        self.recorder.rollout(self.learner.step, drawn, self.judge.figures())
        if self.rollouts_done % self.config.progress.rollouts_every == 0:
            step = self.learner.step
            self.recorder.save_rollouts(f"step-{step:05d}", step, groups, advantages)
        for minibatch in self.minibatches(groups, advantages):
            self.update(minibatch, groups, advantages)
        self.rollouts_done += 1
        if self.rollouts_done % self.config.checkpoint_every == 0:
            self.save()

    # Rollout and score ---------------------------------------------------------------------------

    def rollout(self) -> list[Group]:
        """All groups drawn for this rollout: of each set as many as wanted, more under dynamic sampling."""
        algorithm, wanted = self.config.algorithm, self.config.problem_counts(self.learner.step)
        groups = self.scored_groups(wanted)
        for _ in range(algorithm.dynamic_rounds if algorithm.dynamic_sampling else 0):
            useful = Counter(group.purpose for group in groups if informative(group.rewards_G))
            lacking = {
                name: count for name, count in wanted.items() if useful[Purpose(name)] < count
            }
            if not lacking:
                break
            groups += self.scored_groups(lacking)
        return groups

    def chosen(self, drawn: list[Group]) -> list[Group]:
        """The groups to learn from: of each set those that teach something first, uniform ones to fill up.

        Uniform groups have no gradient of the reward, and minibatches still divide.
        """
        if not self.config.algorithm.dynamic_sampling:
            return drawn
        chosen = []
        for name, count in self.config.problem_counts(self.learner.step).items():
            groups = [group for group in drawn if group.purpose == name]
            useful = [group for group in groups if informative(group.rewards_G)]
            filler = [group for group in groups if not informative(group.rewards_G)]
            chosen += (useful + filler)[:count]
        return chosen

    def scored_groups(self, counts: Mapping[str, int]) -> list[Group]:
        """Rollouts of the next `counts` problems of each set, scored."""
        draws = self.problem_sets.next(counts)
        for line in self.problem_sets.skipped_rows():
            self.context.progress.print_line(f"{self.context.name}: {line}")
        with self.recorder.timing("generate_seconds"):
            size, params = self.config.group_size, self.params()
            keys, problems = [draw.key for draw in draws], [draw.problem for draw in draws]
            rollouts_PG = self.roller.with_keys(keys, problems, size, params)
        with self.recorder.timing("score_seconds"):
            unscored = [
                RolloutGroup(draw.problem, tuple(rollouts_G), draw.purpose)
                for draw, rollouts_G in zip(draws, rollouts_PG, strict=True)
            ]
            state = ScoringState(self.learner.step, self.config.steps, self.max_tokens)
            groups = with_votes(self.judge.score(unscored, state))
        self.tokens += sum(len(r.completion.ids) for group in groups for r in group.rollouts)
        return groups

    @property
    def max_tokens(self) -> int:
        """The length limit that holds now."""
        return self.config.sampling.max_tokens_at(self.learner.step)

    def params(self) -> SamplingParams:
        """How this rollout is drawn."""
        chosen = self.config.sampling
        return SamplingParams(
            self.max_tokens, self.stops, chosen.temperature, chosen.top_p, chosen.top_k
        )

    # Advantage and update ------------------------------------------------------------------------

    def advantages(self, group: Group) -> tuple[float, ...]:
        """Relative to the group; Dr. GRPO only centres. PPO has none here: its learner has one a token."""
        if self.config.algorithm.name == "ppo":
            return ()
        if self.config.algorithm.name == "dr_grpo":
            return centred(group.rewards_G)
        return group_normalised(group.rewards_G, self.config.algorithm.std_epsilon)

    def minibatches(
        self, groups: Sequence[Group], advantages: Advantages
    ) -> list[list[PreparedSample]]:
        """The rollout as rows of the loss, split; reference log-probabilities are taken here, once."""
        samples, indices, left_out = _samples(groups, advantages, self.config)
        self.learner.max_tokens = self.max_tokens
        with self.recorder.timing("update_seconds"):
            rows = self.learner.prepare(samples, left_out)
        count, seed = self.config.minibatches, self.context.seed * 1_000_003 + self.rollouts_done
        kinds = [group.purpose.value for group in groups]
        split = split_minibatches(indices, count, self.config.split, seed, kinds)
        return [[rows[index] for index in minibatch] for minibatch in split]

    def update(
        self, minibatch: list[PreparedSample], groups: Sequence[Group], advantages: Advantages
    ) -> None:
        """One optimizer step; the next rollout is sampled from the new weights."""
        with self.recorder.timing("update_seconds"):
            try:
                done = self.learner.update(minibatch)
            except TrainingStopped as error:
                step = self.learner.step
                path = self.recorder.save_rollouts(f"stopped-{step:05d}", step, groups, advantages)
                raise TrainingStopped(f"{error}\nThe rollouts of this step: {path}") from error
            self.publish()
        self.learner.release_gradients()  # what is drawn next needs the room
        self.curve()
        row = {"rollout": self.rollouts_done, "num_tokens": self.tokens, **update_row(done)}
        self.recorder.write(done.step, row)

    def publish(self) -> None:
        """Hand the policy's weights to the sampler, which copies them when it next generates."""
        self.roller.sampler.load(WeightUpdate(self.learner.step, self.learner.weights()))

    def curve(self) -> None:
        """A point of the held-out curve, at the first step, the last, and every so many."""
        settings, step = self.config.progress, self.learner.step
        if settings.problems and (step % settings.every == 0 or step == self.config.steps):
            params = SamplingParams(
                self.max_tokens, self.stops, settings.temperature, settings.top_p
            )
            problems = self.problem_sets.sets[Purpose.REASONING].source.heldout(settings.problems)
            self.recorder.curve(step, problems, params, self.problem_sets.general)

    # Stopping and going on -----------------------------------------------------------------------

    def resume(self) -> None:
        """Continue from the state; or begin, with the start's own point on the curve."""
        state = self.learner.load_state(self.context.directory.state)
        if state is None:
            self.recorder.open(0)
            self.curve()
            self.recorder.write(0, {})
            return
        self.rollouts_done, self.tokens = state["at"]
        self.problem_sets.load_state(state["scenarios"])
        self.judge.load_state(state["scenarios"])
        self.recorder.open(self.learner.step, state["history"])
        self.publish()
        self.context.progress.print_line(
            f"{self.context.name}: going on after step {self.learner.step}"
        )

    def save(self) -> None:
        """Write the state, whole."""
        state = {
            "at": (self.rollouts_done, self.tokens),
            "scenarios": self.problem_sets.state() | self.judge.state(),
            "history": self.recorder.state(),
        }
        self.learner.save_state(self.context.directory.state, state)

    def finish(self) -> None:
        """Write the checkpoint: an ordinary Hugging Face folder."""
        release_space()  # the room of the next state: there is none
        with whole_folder(self.context.directory.checkpoint) as folder:
            self.learner.save(folder)
            self.tokenizer.save_pretrained(folder)


def _recorder(
    config: RLStage, context: Context, roller: RolloutSampler, judge: Judge, heldout_judge: Judge
) -> Recorder:
    chosen, relative = config.preferences, config.algorithm.name != "ppo"
    parts = None if chosen is None else reward_weights(config.rewards, chosen)
    history = History(relative, parts, 0 if chosen is None else chosen.from_step)
    return Recorder(context, roller, config.progress, history, parts, judge, heldout_judge)


def _learner(model: PreTrainedModel, config: RLStage) -> PolicyLearner:
    return PolicyLearner(
        model,
        config.algorithm,
        config.optimizer,
        total_steps=config.steps,
        max_tokens=config.sampling.max_tokens,
        temperature=config.sampling.temperature,
        tokens_per_micro_batch=config.tokens_per_micro_batch,
        autocast=config.autocast,
        recompute=config.recompute,
    )


def _samples(
    groups: Sequence[Group], advantages: Advantages, config: RLStage
) -> tuple[list[Sample], list[list[int]], list[bool]]:
    """Samples in one list, their indices by group, and which are left out of the loss."""
    samples: list[Sample] = []
    indices: list[list[int]] = []
    left_out: list[bool] = []
    for group, known_G in zip(groups, advantages, strict=True):
        advantages_G = known_G or (0.0,) * len(group.rollouts)
        indices.append(list(range(len(samples), len(samples) + len(group.rollouts))))
        for rollout, advantage, reward in zip(
            group.rollouts, advantages_G, group.rewards_G, strict=True
        ):
            done = rollout.completion
            samples.append(Sample(rollout.prompt_ids, done.ids, done.logprobs, advantage, reward))
            cut = rollout.status is RolloutStatus.TRUNCATED
            left_out.append(cut and config.algorithm.mask_truncated)
    return samples, indices, left_out
