"""`dianoia chat` as a person uses it: in a real pseudo-terminal, and through a pipe."""

import json
import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dianoia.inference.generation import Delta, Generation
from tests.smoke.commands import Command, run_command

MODEL = "miniature-base-small"
QUESTION = "Lily faces east. Turns: a right, b back, c right. Which way now?"
"""A held-out problem of the miniature; the answer is east."""
LONG_TOKENS = 900
LONG = f"/set temperature=2 max_tokens={LONG_TOKENS} seed=5"
"""Far from what the model has learnt it writes on and on."""
SECONDS = 120
_STYLES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def _attach(path: str) -> None:
    """Make a pseudo-terminal the terminal of this process: the first that a session leader opens is its own."""
    terminal = os.open(path, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(terminal, descriptor)
    # The streams were made for what the descriptors were before.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    _slow_down()


def _slow_down() -> None:
    """Write the long answer as slowly as a large model: the small one would be done before anybody could stop it."""
    put = Generation.put

    def slow_put(generation: Generation, delta: Delta) -> None:
        params = generation.request.params
        if params is not None and params.max_tokens == LONG_TOKENS:
            time.sleep(0.5)
        put(generation, delta)

    Generation.put = slow_put  # type: ignore[method-assign]


class Terminal:
    """The other end of a command's terminal."""

    def __init__(self, arguments: list[str]) -> None:
        self._master, slave = pty.openpty()
        self._slave = slave
        self.command = Command(arguments, partial(_attach, os.ttyname(slave)))
        self.text = ""
        self._seen = 0

    def type(self, text: str) -> None:
        """Type, with Enter as `\\r`."""
        os.write(self._master, text.encode())

    def read_until(self, text: str) -> str:
        """Return what has been written since the last call, up to and including a text."""
        deadline = time.monotonic() + SECONDS
        while (end := self.text.find(text, self._seen)) < 0:
            assert time.monotonic() < deadline, f"no {text!r} in {self.text[self._seen :]!r}"
            if select.select([self._master], [], [], 0.2)[0]:
                data = os.read(self._master, 4096).decode(errors="replace")
                self.text += _STYLES.sub("", data).replace("\r\n", "\n")
            elif self.command.poll() is not None:
                raise AssertionError(f"ended without {text!r}: {self.text[self._seen :]!r}")
        start, self._seen = self._seen, end + len(text)
        return self.text[start : self._seen]

    def close(self) -> None:
        with self.command:
            if self.command.poll() is None:
                self.command.kill()
        os.close(self._master)
        os.close(self._slave)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Terminal]:
    """A chat that waits for the first question."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    session = Terminal(["chat", MODEL, "--seed", "1"])
    try:
        session.read_until("\n> ")
        yield session
    finally:
        session.close()


@pytest.mark.slow
def test_a_session_asks_stops_and_ends(terminal: Terminal, tmp_path: Path) -> None:
    assert "/help lists the commands" in terminal.text
    assert "miniature knows" in terminal.text
    terminal.type(f"{QUESTION}\r")
    answer = terminal.read_until("\n> ")
    assert f"{MODEL} · " in answer
    assert re.search(r"✓ right|✗ wrong · expected: east", answer)
    # Ctrl-C in the middle of an answer keeps the session.
    terminal.type(f"{LONG}\r")
    terminal.read_until("\n> ")
    terminal.type("Tell me a story.\r")
    terminal.read_until("Tell me a story.\n")
    terminal.read_until("\n")
    terminal.type("\x03")
    assert f"{MODEL} · stopped · " in terminal.read_until("\n> ")
    # The next question is answered as if nothing had been; then Ctrl-D ends.
    terminal.type("/set temperature=default max_tokens=default seed=1\r")
    terminal.read_until("\n> ")
    terminal.type(f"{QUESTION}\r")
    facts = re.compile(rf"{MODEL} · .*")
    assert facts.sub("", terminal.read_until("\n> ")) == facts.sub("", answer)
    terminal.type(f"/save {tmp_path}/chat.json\r")
    terminal.read_until("\n> ")
    saved = json.loads((tmp_path / "chat.json").read_text(encoding="utf-8"))
    assert [item["role"] for item in saved["messages"]][-2:] == ["user", "assistant"]
    terminal.type("\x04")
    assert terminal.command.finish().returncode == 0
    history = (tmp_path / "state/dianoia/chat-history").read_text(encoding="utf-8")
    assert QUESTION in history


@pytest.mark.slow
def test_commands_and_pastes(terminal: Terminal, tmp_path: Path) -> None:
    terminal.type("/help\r")
    assert "/regenerate" in terminal.read_until("\n> ")
    terminal.type("/sett seed=1\r")
    assert "did you mean 'set'?" in terminal.read_until("\n> ")
    terminal.type("/set temperature=hot\r")
    assert "temperature = 'hot': it is a number from 0 to 2" in terminal.read_until("\n> ")
    terminal.type("/model base\r")
    assert "there is no such model" in terminal.read_until("\n> ")
    terminal.type("/model miniature-base\r")
    assert "model: miniature-base" in terminal.read_until("\n> ")
    # A paste of several lines, with and without the marks of bracketed paste, is one question.
    pasted = "Which one is a kind of tree?\nA iron\nB swan\nC methane\nD maple"
    terminal.type(f"\x1b[200~{pasted}\x1b[201~\r")
    assert "expected: D" in (first := terminal.read_until("\n> ")) or "✓ right" in first
    terminal.type(pasted.replace("\n", "\r") + "\r")
    assert "expected: D" in (second := terminal.read_until("\n> ")) or "✓ right" in second
    terminal.type("/examples\r")
    assert "Which way now?" in terminal.read_until("\n> ")
    terminal.type("/examples 7\r")
    assert "Sunday" in terminal.read_until("\n> ")
    terminal.type("/examples 8\r")
    assert "the miniature's levels of difficulty are 1 to 7" in terminal.read_until("\n> ")
    terminal.type("/think\r")
    assert "folded" in terminal.read_until("\n> ")
    terminal.type("/regenerate\r")
    assert "miniature-base · " in terminal.read_until("\n> ")
    terminal.type(f"/save {tmp_path}/chat.md\r")
    assert "saved:" in terminal.read_until("\n> ")
    # Its own file is written again.
    terminal.type(f"/save {tmp_path}/chat.md\r")
    assert "saved:" in terminal.read_until("\n> ")
    (tmp_path / "other.md").write_text("mine")
    terminal.type(f"/save {tmp_path}/other.md\r")
    assert "this file exists" in terminal.read_until("\n> ").replace("\n", " ")
    assert (tmp_path / "other.md").read_text() == "mine"
    # Two of Ctrl-C at the prompt end the session.
    terminal.type("\x03")
    terminal.read_until("ends the chat.\n> ")
    terminal.type("\x03")
    assert terminal.command.finish().returncode == 0


def _pipe(path: str) -> None:
    """Read the standard input from a file."""
    descriptor = os.open(path, os.O_RDONLY)
    os.dup2(descriptor, 0)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_pipe_gets_the_answer_alone_and_json_all_of_it(tmp_path: Path) -> None:
    question = tmp_path / "question"
    question.write_text(f"{QUESTION}\n", encoding="utf-8")
    arguments = ["chat", MODEL, "--seed", "1"]
    plain = run_command(arguments, partial(_pipe, str(question)))
    table = run_command([*arguments, "--json"], partial(_pipe, str(question)))
    assert (plain.returncode, table.returncode) == (0, 0), plain.stderr + table.stderr
    answer = json.loads(table.stdout)
    assert plain.stdout == f"{answer['content']}\n"
    assert (answer["question"], answer["model"], answer["seed"]) == (QUESTION, MODEL, 1)
    assert answer["finish_reason"] == "stop"
    assert 0 <= answer["thought_tokens"] < answer["tokens"]


def test_refusals_come_before_a_model_is_loaded(tmp_path: Path) -> None:
    question = tmp_path / "question"
    question.write_text("\n", encoding="utf-8")
    for arguments, message in (
        (["chat", MODEL, "--temperature", "3"], "--temperature = 3: it is a number from 0 to 2"),
        (["chat", MODEL, "--max-tokens", "many"], "--max-tokens = 'many'"),
        (["chat", "no-such-model"], "there is no such model"),
        (["chat", MODEL], "holds no question"),
    ):
        result = run_command(arguments, partial(_pipe, str(question)))
        assert result.returncode == 2, result.stdout
        assert message in result.stderr
        assert "Traceback" not in result.stderr
