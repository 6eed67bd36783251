"""The errors a person is meant to read.

Everything a user can cause derives from `UserError`: the command line prints its message without a
traceback and leaves with exit status 2. A message says what happened (with the value and the option as
typed), why it matters, and what to do. Broken invariants of our own are plain `assert`s.

UserError
 +- ConfigError      a recipe or an override that cannot be run as written
 +- ProblemFileError a file of problems with a row that cannot be used
 +- ProblemTestsError a problem whose own tests of a program cannot be read
 +- ModelError       a model folder or name that cannot be loaded
 +- EndpointError    a model behind an endpoint that does not answer, or a budget that is spent
 +- SandboxError     no sandbox for untrusted programs, or one that failed
 +- RunInUse         another process is at work in the run directory
 +- VerifierError    no process that verifies answers could be started
 +- TrainingStopped  the run stopped itself (NaN, exploding gradient); its evidence is on disk
 +- MachineFault     the machine gives no more: a disk that is full or cannot be written, memory that ran out
 +- DamagedFile      a file of a run that is not what was written there
 +- Stopped          somebody asked the command to stop, and it has done so after the step in hand

StageCrashed is none of them: an error of ours in a process beside that of the command.
"""

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the name that comes close; empty where none does."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


class UserError(Exception):
    """Something the person at the keyboard can put right."""


class ConfigError(UserError, ValueError):
    """A recipe or an override cannot be run as written."""


class ProblemFileError(UserError, ValueError):
    """A file of problems holds a row that cannot be used; the message names file and row."""


class ProblemTestsError(UserError, ValueError):
    """The tests of a problem about code cannot be read; the message names problem, key and value."""


class ModelError(UserError, OSError):
    """A model folder or hub name cannot be loaded."""


class EndpointError(UserError, RuntimeError):
    """A model behind an endpoint refuses, cannot be reached, or has used up its budget."""


class SandboxError(UserError, RuntimeError):
    """Untrusted programs cannot be run: this machine has no sandbox, or the sandbox failed."""


class RunInUse(UserError, RuntimeError):
    """Another process is at work in the run directory; the message names it."""


class VerifierError(UserError, RuntimeError):
    """Answers cannot be verified: no process that does it could be started."""


class TrainingStopped(UserError, RuntimeError):
    """Training stopped itself; the message names the files that hold the evidence."""


class MachineFault(UserError, RuntimeError):
    """A disk, its rights or limits, or memory stopped the work; the message says what to free or change."""


class DamagedFile(UserError, ValueError):
    """A file of a run directory is not what was written there; the message names it and what to remove."""


class Stopped(UserError, RuntimeError):
    """The command was asked to stop; what was finished is kept, and the same command goes on."""


class StageCrashed(Exception):
    """A stage was ended by an error that nobody is meant to see; the message ends with its traceback."""
