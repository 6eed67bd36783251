"""Problems of one of reasoning-gym's tasks, by number and without end.

In: a name such as `gym/chain_sum` or `gym/chain_sum?max_terms=3&max_digits=1`, where the options are those of the
task. Out: a `ProblemSource`. Left out: its curricula and its mixtures.

reasoning-gym makes problem `index` of a data set from the seed plus the index, so that data sets with seeds 1 and 2
are the same list, moved by one. Decisions:
1. A problem has a key of 31 bits, a hash of side, seed and number: even for training, odd for held-out problems.
   Neither another seed nor another number comes near it.
2. Small tasks ask the same question under many keys. So a question belongs to the side that a hash of its words
   says, as in files, and a problem on the wrong side is drawn again.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from dianoia.base.errors import ConfigError
from dianoia.base.records import Problem
from dianoia.sandbox.guest.values import encode
from dianoia.tasks.gym.gym_tasks import OFFERED, REFUSED, VERSION, Rule
from dianoia.tasks.problem_files import split_of

PREFIX = "gym/"
_HELDOUT_SHARE = 0.2
_ATTEMPTS = 500
"""How often a problem is drawn again before a task is said to have too few different ones."""
_DOMAINS = {"algebra": "math", "arithmetic": "math", "geometry": "math", "probability": "math"}
_NOT_OPTIONS = ("seed", "size")
Options = tuple[tuple[str, Any], ...]


class GymProblems:
    """Problems of one task; see `gym_problems`."""

    languages = frozenset({"en"})

    def __init__(self, task: str, options: Options) -> None:
        self.task, self.options = task, options
        self.verifiers = frozenset({OFFERED[task].verifier})

    def draw(self, seed: int, start: int, count: int) -> list[Problem]:
        """As `ProblemSource`."""
        return [self._one(f"train-{seed}-{number}") for number in range(start, start + count)]

    def _one(self, number: str) -> Problem:
        for attempt in range(_ATTEMPTS):
            problem = _problem(self.task, self.options, _key(f"{number}-{attempt}", odd=0))
            if split_of(problem.question, _HELDOUT_SHARE) == "train":
                return problem
        raise self._too_few()

    def heldout(self, limit: int) -> list[Problem]:
        """As `ProblemSource`; fewer where the task has fewer different questions."""
        found: dict[str, Problem] = {}
        for problem in self._held():
            found.setdefault(problem.question, problem)
            if len(found) == limit:
                break
        if not found:
            raise self._too_few()
        return list(found.values())

    def _held(self) -> Iterator[Problem]:
        """Until a long time has passed without a new question."""
        seen: set[str] = set()
        number = since_new = 0
        while since_new < _ATTEMPTS:
            problem = _problem(self.task, self.options, _key(f"heldout-{number}", odd=1))
            number, since_new = number + 1, since_new + 1
            fresh = problem.question not in seen
            if fresh and split_of(problem.question, _HELDOUT_SHARE) == "heldout":
                seen.add(problem.question)
                since_new = 0
                yield problem

    def _too_few(self) -> ConfigError:
        return ConfigError(
            f"{PREFIX}{self.task}: with these options there are too few different problems for training and "
            f"held-out ones ({dict(self.options) or 'its own defaults'}); give it a larger range"
        )


def gym_problems(name: str, key: str = "problems") -> GymProblems:
    """The problems that a name such as `gym/chain_sum?max_terms=3` stands for.

    `key` is the option that names the set, for messages.

    Raises:
        ConfigError: no such task, one that is refused, an option that it does not have or take, or no
            reasoning-gym of the version that the rules were checked with.
    """
    task, _, query = name.removeprefix(PREFIX).partition("?")
    if task in REFUSED:
        raise ConfigError(
            f"{key} = {name!r}: reasoning-gym's task {task!r} is not offered: {REFUSED[task]}; use one of {_names()}"
        )
    if task not in OFFERED:
        raise ConfigError(
            f"{key} = {name!r}: no task of this name has been checked; use one of {_names()}"
        )
    _check_installed(f"{key} = {name!r}")
    given = dict(parse_qsl(query, keep_blank_values=True))
    options = _options(task, given, f"{key} = {name!r}")
    try:
        _dataset(task, options)
    except (AssertionError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{key} = {name!r}: reasoning-gym does not take these options ({error or 'out of range'})"
        ) from None
    return GymProblems(task, options)


def _names() -> str:
    return ", ".join(sorted(OFFERED))


def _check_installed(where: str) -> None:
    advice = "pip install 'dianoia[gym]'"
    if importlib.util.find_spec("reasoning_gym") is None:
        raise ConfigError(f"{where}: reasoning-gym is not installed; {advice}")
    version = importlib.metadata.version("reasoning-gym")
    if version != VERSION:
        raise ConfigError(
            f"{where}: reasoning-gym {version} is installed, but its tasks and scorers were checked in {VERSION} "
            f"and change from version to version; {advice}"
        )


def _options(task: str, given: Mapping[str, str], where: str) -> Options:
    """Options in the types of the task's own defaults, with those of its rule."""
    factory = importlib.import_module("reasoning_gym.factory")
    config = factory.DATASETS[task][1]()
    known = {
        field.name: getattr(config, field.name)
        for field in fields(config)
        if field.name not in _NOT_OPTIONS
        and isinstance(getattr(config, field.name), (bool, int, float, str))
    }
    chosen = dict(OFFERED[task].options)
    for option, text in given.items():
        if option not in known:
            raise ConfigError(
                f"{where}: the task has no option {option!r} that can be set here; it has {', '.join(known)}"
            )
        chosen[option] = _typed(text, known[option], f"{where}, {option} = {text!r}")
    return tuple(sorted(chosen.items()))


def _typed(text: str, like: bool | int | float | str, where: str) -> Any:
    try:
        if isinstance(like, bool):
            return {"true": True, "false": False}[text.lower()]
        make: Callable[[str], object] = type(like)
        return make(text)
    except (ValueError, KeyError):
        raise ConfigError(f"{where}: not a {type(like).__name__}, as {like!r} is") from None


def _key(name: str, odd: int) -> int:
    """31 bits; even or odd."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:4]) & 0x7FFFFFFE) | odd


@lru_cache(maxsize=64)
def _dataset(task: str, options: Options) -> Any:
    gym = importlib.import_module("reasoning_gym")
    return gym.create_dataset(task, seed=0, size=1, **dict(options))


@lru_cache(maxsize=4096)
def _problem(task: str, options: Options, key: int) -> Problem:
    """A problem by its key. Its index is its key: the seed of its random numbers is their sum."""
    data, rule = _dataset(task, options), OFFERED[task]
    entry = data[key]
    return Problem(
        id=f"{PREFIX}{task}-{key}",
        question=entry["question"].strip(),
        answer=entry["answer"].strip(),
        verifier=rule.verifier,
        domain=_DOMAINS.get(data.category, "logic"),
        language="en",
        columns=_columns(task, options, entry, rule),
    )


def _columns(task: str, options: Options, entry: Mapping[str, Any], rule: Rule) -> dict[str, Any]:
    """What the scorer needs, where it is asked: plain values only, so that they can be written down."""
    if rule.verifier != "gym":
        return {}
    encode(entry)  # TypeError for anything else
    return {"task": task, "options": repr(dict(options)), "entry": repr(dict(entry))}
