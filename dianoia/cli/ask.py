"""`dianoia ask`: a question to a model, and a few responses to look at."""

import argparse
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from dianoia.base.errors import ConfigError
from dianoia.cli.number_options import whole_number
from dianoia.cli.output import print_json
from dianoia.cli.result_tables import add_thoughts, make_console, print_response, say, shortened

if TYPE_CHECKING:
    from dianoia.base.records import Problem
    from dianoia.cli.run import Commands
    from dianoia.inference.loaded_model import Model
    from dianoia.inference.response import Response

_MAX_TALLIED = 5
_count = whole_number(1, "is not a number of responses; write for example 4")
_MAX_PROBLEM, _MAX_DIGITS = 1000, 9


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser("ask", help="ask a model a question and show its responses")
    parser.description = (
        "Asks a model and shows what it thought and said. The prompt is that of the template under which the model was "
        "trained. The same seed gives the same responses."
    )
    add_model(parser)
    parser.add_argument("question", nargs="?", help="the question; - reads it from standard input")
    parser.add_argument(
        "-n", "--samples", type=_count, default=1, metavar="N", help="responses (default: 1)"
    )
    add_sampling(parser)
    parser.add_argument("--system", metavar="TEXT", help="a system message before the question")
    parser.add_argument(
        "--problem",
        metavar="SET[:NUMBER]",
        help="in place of a question, a held-out problem of a set, e.g. miniature/math:3; its verifier grades the answers",
    )
    parser.add_argument(
        "--gold", metavar="ANSWER", help="the right answer; a verifier grades the answers"
    )
    parser.add_argument(
        "--verifier", default="math", help="the verifier for --gold (default: math)"
    )
    add_thoughts(parser)
    parser.add_argument("--json", action="store_true", help="print the responses as JSON")
    parser.set_defaults(command=ask)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the argument MODEL."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a run (runs/x), a checkpoint of it (runs/x:zero), a shipped base (miniature-base), a folder or a hub name",
    )


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how responses are sampled."""
    default_note = "(default: the model's own)"
    parser.add_argument(
        "--temperature", type=float, metavar="T", help=f"0: the likeliest token {default_note}"
    )
    parser.add_argument("--top-p", type=float, metavar="P", help=f"nucleus {default_note}")
    parser.add_argument(
        "--top-k", type=int, metavar="K", help=f"most likely tokens kept {default_note}"
    )
    parser.add_argument(
        "--max-tokens",
        type=int,
        metavar="N",
        help="limit on the tokens of a response (default: 4096)",
    )
    parser.add_argument(
        "--seed", type=int, help="of the random draws (default: another one each time)"
    )
    parser.add_argument("--template", metavar="NAME", help=f"of the prompt {default_note}")


# The command ---------------------------------------------------------------------------------------


def ask(arguments: argparse.Namespace) -> None:
    """Ask the model and print its responses."""
    question = _question(arguments)  # before the seconds that loading takes
    from dianoia.inference.loaded_model import load

    model = load(arguments.model, template=arguments.template)
    responses = model.ask(
        question,
        arguments.samples,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        top_k=arguments.top_k,
        max_tokens=arguments.max_tokens,
        seed=arguments.seed,
        system=arguments.system,
    )
    if arguments.json:
        print_json(_table(model, question, responses))
        return
    _print(model, question, responses, arguments.thoughts)


def _question(arguments: argparse.Namespace) -> "str | Problem":
    """Return the question, or the problem with its gold answer. Raises ConfigError where there is none, or two."""
    from dataclasses import replace

    from dianoia.base.records import Problem
    from dianoia.tasks.catalog import VERIFIERS

    if (arguments.question is None) == (arguments.problem is None):
        raise ConfigError(
            'there is nothing to ask; type a question behind the model, such as "Compute 2 +3.", or --problem miniature/math:3'
            if arguments.question is None
            else "there are both a question and --problem; leave one of them out"
        )
    if arguments.problem is not None:
        problem = _heldout(arguments.problem)
        return problem if arguments.gold is None else replace(problem, answer=arguments.gold)
    question = sys.stdin.read() if arguments.question == "-" else arguments.question
    if arguments.gold is None:
        return str(question)
    if arguments.verifier not in VERIFIERS:
        from dianoia.base.errors import nearest

        raise ConfigError(
            f"--verifier {arguments.verifier}: there is no such verifier{nearest(arguments.verifier, VERIFIERS)}; use one of "
            f"{', '.join(sorted(VERIFIERS))}"
        )
    return Problem("asked", question, arguments.gold, arguments.verifier)


def _heldout(text: str) -> "Problem":
    """Return a held-out problem of a set by its number, from 1."""
    from dianoia.tasks.catalog import problem_source

    name, colon, digits = text.rpartition(":")
    if not colon or not digits.isdecimal():
        name, digits = text, "1"
    number = int(digits[-_MAX_DIGITS:])
    # A set that is generated has as many problems as are asked for, and makes all before this one.
    last = _MAX_PROBLEM if not 1 <= number <= _MAX_PROBLEM or len(digits) > _MAX_DIGITS else number
    problems = problem_source(name).heldout(last)
    if last != number or len(problems) < number:
        raise ConfigError(
            f"--problem {text}: there is no held-out problem of this number; give one from 1 to {len(problems):,}"
        )
    return problems[-1]


# What is printed -----------------------------------------------------------------------------------


def _table(
    model: "Model", question: "str | Problem", responses: "list[Response]"
) -> dict[str, Any]:
    is_problem = not isinstance(question, str)
    return {
        "model": model.name,
        "source": model.checkpoint.source,
        "template": model.template.name,
        "question": question.question if is_problem else question,  # type: ignore[union-attr]
        "gold": question.answer if is_problem else None,  # type: ignore[union-attr]
        "seed": responses[0].seed,
        "responses": [response.as_json() for response in responses],
    }


def _print(
    model: "Model", question: "str | Problem", responses: "list[Response]", thoughts: str
) -> None:
    console = make_console()
    if not isinstance(question, str):
        say(console, question.question)
        say(console, f"gold answer: {question.answer}", "dim")
        say(console)
    for response in responses:
        number = f"{response.sample + 1}  " if len(responses) > 1 else ""
        print_response(
            console, f"{number}{_heading(response)}", response.thought, response.content, thoughts
        )
        say(console)
    if len(responses) > 1:
        say(console, f"answers: {tally(responses)}", "dim")
    say(
        console,
        f"{model.name} under the template {model.template.name}; the same again with --seed {responses[0].seed}",
        "dim",
    )


def _heading(response: "Response") -> str:
    """Return how a response ended, its tokens and the verdict, on one line."""
    # A verdict says that the response is finished.
    endings = {
        "finished": "finished" if response.right is None else "",
        "truncated": "cut off at the limit",
    }
    ending = endings.get(response.status.value, f"malformed: {response.fault}")
    tokens = f"{response.tokens} token{'s' * (response.tokens != 1)}"
    thought = f" ({response.thought_tokens} of thought)" if response.thought_tokens else ""
    verdict = {True: "right", False: "wrong", None: ""}[response.right]
    return ", ".join(part for part in (verdict, ending, tokens + thought) if part)


def tally(responses: "list[Response]") -> str:
    """Return the answers with their counts, the commonest first, such as `17 (2 of 4), 6 (1)`."""
    counts = Counter(response.answer for response in responses if response.answer is not None)
    none = sum(response.answer is None for response in responses)
    shown = counts.most_common(_MAX_TALLIED)
    words = [f"{shortened(answer, 30)} ({count} of {len(responses)})" for answer, count in shown]
    words += [f"{len(counts) - len(shown)} more"] if len(counts) > len(shown) else []
    words += [f"none ({none} of {len(responses)})"] if none else []
    return ", ".join(words)
