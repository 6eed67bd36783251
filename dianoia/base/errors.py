"""Errors that a user can fix.

All derive from `UserError`: the command line prints the message without a traceback and exits with status 2. A message
says what happened (with the value and the option as typed), why it matters, and what to do. Broken invariants of the
program are plain `assert`s.

UserError
 +- ConfigError        a recipe or an override that cannot be run as written
 +- ProblemFileError   a file of problems with a row that cannot be used
 +- ProblemTestsError  a programming problem whose tests cannot be read
 +- ModelError         a model folder or name that cannot be loaded
 +- EndpointError      a model behind an endpoint that does not answer, or a budget that is used up
 +- SandboxError       no sandbox for untrusted programs, or one that failed
 +- RunInUse           another process is at work in the run directory
 +- VerifierError      no process that verifies answers could be started
 +- TrainingStopped    the run stopped itself (NaN, exploding gradient); its evidence is on disk
 +- MachineFault       the machine is out of something: a disk is full or cannot be written, memory ran out
 +- DamagedFile        a file of a run is not what was written there
 +- TrackerError       a tracker has failed; the run is not affected
 +- UnknownFormat      a file of a run was written by another version of Dianoia
 +- RankError          a rank of the stage has ended, hangs, or has come apart from the others
 +- Stopped            the user asked the command to stop, and it stopped after the current step

StageCrashed is not a UserError: an error of the program in the process of a stage.
"""

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` with the nearest of `names`, to follow a word of a sentence; empty if none is near."""
    close = near_names(name, names, most=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def near_names(name: str, names: Iterable[str], most: int = 3) -> list[str]:
    """Return up to `most` of `names` that are near a mistyped one, the nearest first."""
    # Below 0.5 the suggestion is seldom what was meant.
    return difflib.get_close_matches(name, list(names), n=most, cutoff=0.5)


class UserError(Exception):
    """An error that the user can fix."""


# Each class also derives from the built-in class that callers of the API would expect.


class ConfigError(UserError, ValueError):
    """A recipe or an override cannot be run as written."""


class ProblemFileError(UserError, ValueError):
    """A file of problems holds a row that cannot be used; the message names file and row."""


class ProblemTestsError(UserError, ValueError):
    """The tests of a programming problem cannot be read; the message names problem, key and value."""


class ModelError(UserError, OSError):
    """A model folder or hub name cannot be loaded."""


class EndpointError(UserError, RuntimeError):
    """A model behind an endpoint refuses, cannot be reached, or has used up its budget."""


class SandboxError(UserError, RuntimeError):
    """Untrusted programs cannot be run: this machine has no sandbox, or the sandbox failed."""


class RunInUse(UserError, RuntimeError):
    """Another process is at work in the run directory; the message names it."""


class VerifierError(UserError, RuntimeError):
    """Answers cannot be verified: no process for it could be started."""


class TrainingStopped(UserError, RuntimeError):
    """Training stopped itself; the message names the files that hold the evidence."""


class MachineFault(UserError, RuntimeError):
    """A disk, its rights or limits, or memory stopped the work; the message says what to free or change."""


class DamagedFile(UserError, ValueError):
    """A file of a run directory is not what was written there; the message names it and what to remove."""


class UnknownFormat(UserError, ValueError):
    """A file of a run directory has a format version that this version of Dianoia does not read."""


class TrackerError(UserError, RuntimeError):
    """A tracker has failed. Never raised by a run, only by the command that feeds trackers."""


class RankError(UserError, RuntimeError):
    """A rank of a stage has ended, hangs, or has come apart from the others; the message names it and what it did."""


class Stopped(UserError, RuntimeError):
    """The user asked the command to stop; finished steps are kept, and the same command resumes."""


class StageCrashed(Exception):
    """A stage was ended by an error of the program; the message ends with its traceback."""
