"""The commands within `dianoia chat`: lines that begin with a slash."""

import shlex
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from dianoia.base.errors import ConfigError, nearest
from dianoia.cli.chat_display import Display, printable
from dianoia.inference.chat_settings import Settings
from dianoia.inference.checkpoints import Checkpoint, checkpoints_of, find_checkpoint
from dianoia.inference.conversation import Conversation, Piece
from dianoia.inference.known_questions import examples, is_of_miniature
from dianoia.inference.loaded_model import Model, load

_SHOWN_EXAMPLES = 7


class Quit(Exception):
    """The person ends the session."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command within the chat."""

    usage: str
    summary: str
    run: Callable[["Commands", str], Generator[Piece] | None]
    """Returns the pieces of an answer, where the command asks the model."""


class Commands:
    """The commands of one session, and what they change."""

    def __init__(self, conversation: Conversation, display: Display, slots: int) -> None:
        self.conversation, self.display, self._slots = conversation, display, slots
        self._models: dict[str, Model] = {conversation.model.name: conversation.model}
        self._saved: set[Path] = set()
        self._offered = 0

    def run(self, line: str) -> Generator[Piece] | None:
        """Run a line that begins with a slash. Raises ConfigError, ModelError and Quit."""
        name, _, argument = line[1:].strip().partition(" ")
        if name not in COMMANDS:
            raise ConfigError(
                f"/{name}: there is no such command{nearest(name, COMMANDS)}; /help lists them, and a question that begins "
                "with a slash is written with two of them"
            )
        return COMMANDS[name].run(self, argument.strip())

    # Each takes the rest of its line --------------------------------------------------------------

    def help(self, _argument: str) -> None:
        """List the commands."""
        width = max(len(command.usage) for command in COMMANDS.values())
        for command in COMMANDS.values():
            self.display.console.print(
                f"{command.usage:<{width}}  {command.summary}", markup=False, highlight=False
            )
        self.display.note("Ctrl-C stops an answer; twice, or Ctrl-D, ends the chat.")

    def clear(self, _argument: str) -> None:
        """Forget the conversation."""
        self.conversation.exchanges.clear()
        self.display.note("new conversation")

    def save(self, file_name: str) -> None:
        """Write the conversation to a file; one that was there before is not overwritten."""
        names = _words(file_name)
        # Read like a shell's words, so that a name with blanks can be quoted.
        if len(names) != 1:
            raise ConfigError("/save takes a file name, such as chat.md or chat.json")
        path = Path(names[0]).expanduser()
        # A file that this session wrote may be written again, with what has come since.
        if path.exists() and path.resolve() not in self._saved:
            raise ConfigError(
                f"/save {file_name}: this file exists and is kept; choose another name"
            )
        if not path.parent.is_dir():
            raise ConfigError(f"/save {file_name}: there is no folder {path.parent}; make it first")
        self.conversation.save(path)
        self._saved.add(path.resolve())
        self.display.note(f"saved: {path}")

    def system(self, system_text: str) -> None:
        """Set, show or remove the system text."""
        if system_text:
            text = "" if system_text == "none" else system_text
            self.conversation.settings = replace(self.conversation.settings, system=text)
        self.display.note(f"system: {self.conversation.settings.system or 'none'}")

    def model(self, model_name: str) -> None:
        """Change to another model, or list those of the run."""
        names = self._names_of_run()
        if not model_name:
            now = self.conversation.model.name
            listed = ", ".join(f"{name} (now)" if name == now else name for name in names or [now])
            self.display.note(f"models: {listed}")
            return
        checkpoint = self._checkpoint(model_name, names)
        # Kept loaded, so that changing back and forth between two models is quick.
        if checkpoint.name not in self._models:
            self._models[checkpoint.name] = load(checkpoint, slots=self._slots)
            self.conversation.engine.add(checkpoint.name, self._models[checkpoint.name])
        self.conversation.model = self._models[checkpoint.name]
        self.display.note(f"model: {self.conversation.model.name}")

    def set(self, assignments: str) -> None:
        """Change settings, `temperature=0.7 seed=1`, or show them all."""
        settings = self.conversation.settings
        for word in _words(assignments):
            name, equals, value = word.partition("=")
            if not equals:
                raise ConfigError(f"/set {word}: write NAME=VALUE, such as temperature=0.7")
            # All of the line is checked before any of it holds.
            settings = settings.with_text(name.strip(), value.strip())
        self.conversation.settings = settings
        pairs = [
            f"{item.name}={_shown(getattr(settings, item.name))}"
            for item in fields(Settings)
            if item.name != "system"
        ]
        self.display.note("  ".join(pairs))

    def think(self, _argument: str) -> None:
        """Fold thoughts to a line, or show them."""
        self.display.folded = not self.display.folded
        self.display.note(
            "thoughts are folded" if self.display.folded else "thoughts are shown, dimmed"
        )

    def examples(self, argument: str) -> None:
        """Show questions of the miniature, other ones each time; a number says how difficult."""
        if not is_of_miniature(self.conversation.model.checkpoint.source):
            self.display.note(
                f"{self.conversation.model.name} is no model of the miniature, so there are no examples; ask anything"
            )
            return
        difficulty = _level(argument) if argument else None
        for question in example_questions(self._offered, difficulty=difficulty):
            self.display.console.print(
                printable(question), style="cyan", markup=False, highlight=False
            )
        # The next call goes on behind these.
        self._offered += _SHOWN_EXAMPLES

    def regenerate(self, _argument: str) -> Generator[Piece]:
        """Answer the last question again."""
        return self.conversation.regenerate()

    def quit(self, _argument: str) -> None:
        """End the session."""
        raise Quit

    # Models -----------------------------------------------------------------------------------------

    def _names_of_run(self) -> Sequence[str]:
        run = self.conversation.model.checkpoint.run
        return [] if run is None else [item.name for item in checkpoints_of(run)]

    def _checkpoint(self, text: str, names: Sequence[str]) -> Checkpoint:
        """Return a checkpoint of this run by its name or its part in the paper, or any model as the command line names it."""
        run = self.conversation.model.checkpoint.run
        aliases = [] if run is None else [a for item in checkpoints_of(run) for a in item.aliases]
        return find_checkpoint(f"{run}:{text}" if text in (*names, *aliases) else text)


def example_questions(start: int, language: str = "en", difficulty: int | None = None) -> list[str]:
    """Return a few questions of the miniature from number `start` on, of many kinds, or those of one level of difficulty."""
    questions = [
        item.question
        for item in examples()
        if item.language == language and difficulty in (None, item.difficulty)
    ]
    return [questions[(start + index) % len(questions)] for index in range(_SHOWN_EXAMPLES)]


def _level(text: str) -> int:
    levels = sorted({item.difficulty for item in examples() if item.difficulty is not None})
    if text not in map(str, levels):
        raise ConfigError(
            f"/examples {text}: the miniature's levels of difficulty are {levels[0]} to {levels[-1]}"
        )
    return int(text)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "default" if value is None else f"{value}"


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{text}: a quotation mark is not closed") from error


COMMANDS = {
    command.usage.split()[0].removeprefix("/"): command
    for command in (
        Command("/help", "this list", Commands.help),
        Command("/clear", "begin a new conversation", Commands.clear),
        Command("/save FILE", "write the conversation, as Markdown or as .json", Commands.save),
        Command("/system TEXT", "set the system text; `none` removes it", Commands.system),
        Command("/model NAME", "ask another checkpoint of the run, or any model", Commands.model),
        Command("/set NAME=VALUE", "temperature, top_p, top_k, max_tokens, seed, history", Commands.set),
        Command("/think", "fold thoughts to a line, or show them", Commands.think),
        Command("/examples [LEVEL]", "questions of the miniature, of a level from 1 to 7", Commands.examples),
        Command("/regenerate", "answer the last question again", Commands.regenerate),
        Command("/quit", "end", Commands.quit),
    )
}  # fmt: skip
"""By name, in the order of the help."""
