"""`dianoia chat`: a conversation with a model in the terminal, or one question through a pipe."""

import argparse
import sys
from contextlib import closing
from threading import Thread
from typing import TYPE_CHECKING, Any

from dianoia.base.errors import ConfigError, UserError

if TYPE_CHECKING:
    from collections.abc import Generator

    from dianoia.cli.run import Commands
    from dianoia.inference.chat_settings import Settings
    from dianoia.inference.conversation import Conversation, Exchange, Piece

SLOTS = 1
"""Answers at a time: more would only cost memory."""


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser("chat", help="talk to a model in the terminal")
    parser.description = (
        "Talks to a model: the thought is dimmed, or folded to a line. Without a terminal the standard input is one question, "
        "and the answer goes to the standard output: echo '2+3?' | dianoia chat MODEL"
    )
    parser.add_argument(
        "model",
        metavar="MODEL|RUN",
        help="a run, a model folder, a shipped model or a hub name; RUN:NAME is one checkpoint of a run",
    )
    parser.add_argument(
        "--checkpoint", metavar="NAME", help="the checkpoint of a run, such as zero"
    )
    parser.add_argument(
        "--system", default="", metavar="TEXT", help="a system text before the conversation"
    )
    parser.add_argument("--temperature", metavar="T", help="0 to 2 (default: the model's own)")
    parser.add_argument("--max-tokens", metavar="N", help="most tokens of an answer")
    parser.add_argument("--seed", metavar="N", help="the same seed gives the same answers")
    parser.add_argument(
        "--fold", action="store_true", help="fold thoughts to a line from the beginning"
    )
    parser.add_argument(
        "--json", action="store_true", help="answer the question of the standard input as a JSON object"
    )  # fmt: skip
    parser.set_defaults(command=chat)


def chat(arguments: argparse.Namespace) -> None:
    """Load the model and talk until the person ends it."""
    if arguments.json and sys.stdin.isatty():
        raise ConfigError(
            "--json answers the question of the standard input, which is a terminal here; write "
            "`echo QUESTION | dianoia chat MODEL --json`"
        )
    from dianoia.inference.checkpoints import find_checkpoint
    from dianoia.inference.known_questions import is_of_miniature

    name = arguments.checkpoint
    # All that can be refused comes before the model is loaded.
    checkpoint = find_checkpoint(f"{arguments.model}:{name}" if name else arguments.model)
    single = is_of_miniature(checkpoint.source)
    settings = _settings(arguments, history=not single)
    question = None if sys.stdin.isatty() else _read_question()

    from dianoia.inference.conversation import Conversation
    from dianoia.inference.live_engine import Engine
    from dianoia.inference.loaded_model import load

    model = load(checkpoint, slots=SLOTS)
    with Engine({model.name: model}) as engine:
        conversation = Conversation(engine, model, settings)
        if question is not None:
            _answer(conversation, question, arguments)
        else:
            _Session(conversation, single, arguments.fold).run()


def _settings(arguments: argparse.Namespace, history: bool) -> "Settings":
    """Return the settings that the options ask for."""
    from dianoia.inference.chat_settings import Settings

    settings = Settings(system=arguments.system, history=history)
    for option in ("temperature", "max_tokens", "seed"):
        text = getattr(arguments, option)
        if text is not None:
            settings = settings.with_text(option, text, f"--{option.replace('_', '-')}")
    return settings


# Pipe ----------------------------------------------------------------------------------------------


def _read_question() -> str:
    """Return the standard input, which is one question."""
    question = sys.stdin.read().strip()
    if not question:
        raise ConfigError(
            "the standard input holds no question; write `echo QUESTION | dianoia chat MODEL`"
        )
    return question


def _answer(conversation: "Conversation", question: str, arguments: argparse.Namespace) -> None:
    """Answer one question; a terminal behind the output sees the thought too, a pipe or file the answer alone."""
    from rich.console import Console

    from dianoia.cli.chat_display import Display
    from dianoia.cli.output import print_json
    from dianoia.inference.generation import Finish

    pieces = conversation.ask(question)
    if sys.stdout.isatty() and not arguments.json:
        Display(Console(highlight=False), arguments.fold).answer(pieces, conversation)
    else:
        with closing(pieces):
            for piece in pieces:
                if piece.kind == "content" and not arguments.json:
                    print(piece.text, end="", flush=True)
    exchange = conversation.exchanges[-1]
    if arguments.json:
        print_json(_as_json(exchange))
    elif not sys.stdout.isatty():
        print()
    if exchange.finish is Finish.LENGTH:
        print(f"dianoia: {_facts(exchange)}", file=sys.stderr)


def _as_json(exchange: "Exchange") -> dict[str, Any]:
    return {
        "model": exchange.model,
        "question": exchange.question,
        "thought": exchange.thought or None,
        "content": exchange.content,
        "finish_reason": exchange.finish,
        "tokens": exchange.tokens,
        "thought_tokens": exchange.thought_tokens,
        "seconds": round(exchange.seconds, 3),
        "seed": exchange.seed,
    }


# Terminal ------------------------------------------------------------------------------------------


class _Session:
    """A session in a terminal."""

    def __init__(self, conversation: "Conversation", single: bool, folded: bool) -> None:
        """single: the model knows single questions of the miniature."""
        from rich.console import Console

        from dianoia.cli.chat_commands import Commands as ChatCommands
        from dianoia.cli.chat_display import Display

        self.conversation, self._single = conversation, single
        self.display = Display(Console(highlight=False), folded)
        self.commands = ChatCommands(conversation, self.display, SLOTS)

    def run(self) -> None:
        """Read and answer until Ctrl-D, /quit or a second Ctrl-C."""
        from dianoia.cli.chat_commands import Quit
        from dianoia.cli.chat_display import QuestionReader
        from dianoia.inference.known_questions import known_problem

        self._greet()
        if self._single:
            # The first lookup draws the problems; by the end of the first answer they are there.
            Thread(target=known_problem, args=("",), daemon=True).start()
        interrupted = False
        with QuestionReader() as reader:
            while True:
                try:
                    line = reader.read().strip()
                    interrupted = self._handle(line) if line else interrupted
                except KeyboardInterrupt:
                    # At the prompt.
                    print()
                    if interrupted:
                        return
                    interrupted = True
                    self.display.note("Ctrl-C again, or Ctrl-D, ends the chat.")
                except (EOFError, Quit):
                    print()
                    return

    def _greet(self) -> None:
        from dianoia.cli.chat_commands import example_questions

        checkpoint = self.conversation.model.checkpoint
        whole = f" of {checkpoint.run}" if checkpoint.run else ""
        self.display.console.print(f"{checkpoint.name}{whole}", style="bold", markup=False)
        self.display.note("/help lists the commands. Ctrl-C stops an answer, Ctrl-D ends the chat.")
        if self._single:
            self.display.note(
                "A model of the miniature knows the miniature's questions alone, each asked on its own (/set history=on sends "
                "earlier turns too). /examples shows some, such as:"
            )
            self.display.note(example_questions(0)[0])

    def _handle(self, line: str) -> bool:
        """Answer a question or run a command; return True if Ctrl-C has stopped an answer."""
        from dianoia.inference.generation import EngineFailed

        try:
            if line.startswith("/") and not line.startswith("//"):
                pieces = self.commands.run(line)
            else:
                pieces = self.conversation.ask(line.removeprefix("/") if line[:2] == "//" else line)
            return pieces is not None and self._answer(pieces)
        except (UserError, EngineFailed) as error:
            self.display.warn(str(error))
            return False

    def _answer(self, pieces: "Generator[Piece]") -> bool:
        """Show an answer while it comes, and a line about it; return True if Ctrl-C has stopped it."""
        stopped = False
        # Closed in any case: a generation that nobody reads must not go on.
        with closing(pieces):
            try:
                self.display.answer(pieces, self.conversation)
            except KeyboardInterrupt:
                stopped = True
        if self.conversation.exchanges:
            self.display.note(_facts(self.conversation.exchanges[-1]))
            self._judge(self.conversation.exchanges[-1])
        return stopped

    def _judge(self, exchange: "Exchange") -> None:
        """Write the verifier's verdict, where the question is a problem of the miniature and the answer is complete."""
        from dianoia.inference.generation import Finish
        from dianoia.inference.known_questions import assess, known_problem

        problem = known_problem(exchange.question) if self._single else None
        if problem is not None and exchange.finish is Finish.STOP:
            self.display.verdict(assess(problem, exchange.content))


def _facts(exchange: "Exchange") -> str:
    """Return the line under an answer: how it ended, its tokens and its time."""
    from dianoia.cli.chat_display import counted, duration
    from dianoia.inference.generation import Finish

    endings = {Finish.CANCELLED: "stopped", Finish.LENGTH: "cut off at the limit of tokens"}
    size = counted(exchange.tokens, "token")
    if exchange.thought_tokens:
        size += f", {exchange.thought_tokens:,} of thought"
    facts = (
        exchange.model,
        endings.get(exchange.finish or Finish.STOP),
        size,
        duration(exchange.seconds),
    )
    return " · ".join(fact for fact in facts if fact)
