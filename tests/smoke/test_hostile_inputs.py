"""Data, models and endpoints that somebody else made, with the real command: refused in one message, or used whole."""

import contextlib
import http.server
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from dianoia.base.files import SUMS
from dianoia.cli import main
from dianoia.models import endpoint

WEIGHTS = "model.safetensors"
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tiny_zero: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the tiny recipe with overrides; its status and what it says to a person."""

    def run(
        *overrides: str, options: tuple[str, ...] = (), recipe: Path = tiny_zero
    ) -> tuple[int, str]:
        sets = [part for override in overrides for part in ("--set", override)]
        status = main(["run", str(recipe), "--out", str(tmp_path / "run"), *sets, *options])
        stderr = capsys.readouterr().err
        assert "Traceback" not in stderr
        return status, stderr

    return run


def sums(**options: Any) -> list[dict[str, Any]]:
    return [{"question": f"{n}+1?", "answer": str(n + 1)} | options for n in range(60)]


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "row",
    [
        '{"question": "2+2?", "answer": ' + "7" * 5000 + "}",
        '{"question": "2+2?", "answer": "4", "difficulty": "' + "7" * 5000 + '"}',
        '{"question": NaN, "answer": "4"}',
        '{"question": "2+2?", "answer": NaN, "verifier": "exact"}',
        '{"question": "2+2?", "answer": 1e999}',
        '{"question": "2+2?", "answer": "4", "note": ' + "[" * 9999 + "]" * 9999 + "}",
        '{"question": "2+2?", "answer": "4", "answer": "5"}',
        '{"question": "2+2? \\udc00", "answer": "4"}',
    ],
)
def test_one_row_stops_a_run_before_it_begins(row: str, run: Run, tmp_path: Path) -> None:
    file = written(tmp_path / "rows.jsonl", sums())
    file.write_text(file.read_text() + "\n" + row + "\n")
    status, message = run(f"zero.problems={file}")
    assert status == 2 and f"{file}, row 61" in message
    assert message.startswith("dianoia: ") and len(message) < 1000
    assert not (tmp_path / "run").exists()


def test_columns_that_nobody_reads_are_taken_as_they_are(run: Run, tmp_path: Path) -> None:
    extra = {
        "note": "half \ud800 a character",
        "weight": float("nan"),
        "limit": float("inf"),
        "many": int("7" * 4000),
        "solution": float("nan"),
        "nul": "\0",
        "nested": [{"a": [[[]]]}],
    }
    file = written(tmp_path / "rows.jsonl", sums(**extra))
    options = [f"zero.problems={file}", f"evaluation.problems={file}"]
    assert run(*options) == (0, "")


def test_messages_in_cells(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    cells = []
    for n in range(60):
        messages = [{"role": "system", "content": "Add."}, {"role": "user", "content": f"{n}+1?"}]
        cells.append(f"""{n + 1},"{json.dumps(messages).replace('"', '""')}"\n""")
    file.write_text("\ufeffanswer,prompt\n" + "".join(cells), encoding="utf-8")
    assert run(f"zero.problems={file}", f"evaluation.problems={file}") == (0, "")
    parts = list((tmp_path / "run").rglob("rollouts/*"))
    texts = "".join(part.read_text() for part in parts if part.suffix in (".json", ".jsonl"))
    assert '"system"' not in texts


def test_a_recipe_with_a_byte_order_mark(run: Run, tiny_zero: Path, tmp_path: Path) -> None:
    marked = tmp_path / "marked.toml"
    marked.write_bytes(b"\xef\xbb\xbf" + tiny_zero.read_bytes())
    assert run(options=("--dry-run",), recipe=marked) == (0, "")
    assert "this is a folder" in run(recipe=tmp_path)[1]
    (tmp_path / "link.toml").symlink_to("gone.toml")
    status, message = run(recipe=tmp_path / "link.toml")
    assert status == 2 and "which does not exist" in message


# Models ------------------------------------------------------------------------------------------


@pytest.fixture
def copied(tiny_base: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_base, tmp_path / "copied")
    return tmp_path / "copied"


def edit(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def lose_a_layer(tensors: dict[str, torch.Tensor]) -> None:
    for name in [name for name in tensors if ".layers.1." in name]:
        del tensors[name]


NORM = "model.norm.weight"


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-100]), WEIGHTS),
        (lambda f: (f / WEIGHTS).write_bytes(b""), WEIGHTS),
        (lambda f: (f / WEIGHTS).unlink(), WEIGHTS),
        (lambda f: (f / "config.json").write_text(""), "config.json"),
        (lambda f: (f / "config.json").write_text("[]"), "config.json"),
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json"),
        (lambda f: (f / "tokenizer.json").write_text('{"model": 5}'), "tokenizer.json"),
        (lambda f: edit(f, lose_a_layer), "model.layers.1."),
        (lambda f: edit(f, lambda t: t[NORM].fill_(float("nan"))), NORM),
        (lambda f: edit(f, lambda t: t.update({NORM: torch.ones(3)})), NORM),
        (lambda f: edit(f, lambda t: t.update({"model.extra": torch.ones(3)})), "model.extra"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_damaged_folder_stops_a_run_before_it_begins(
    damage: Callable[[Path], object], part: str, options: tuple[str, ...], copied: Path, run: Run, tmp_path: Path
) -> None:  # fmt: skip
    damage(copied)
    for key in (f"zero.start={copied}", f'evaluation.checkpoints=["{copied}"]'):
        status, message = run(key, options=options)
        assert status == 2 and str(copied) in message and part in message
        assert message.startswith("dianoia: ") and message.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_code_of_a_folder_is_not_run_whatever_is_typed(
    copied: Path, tiny_zero: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    (copied / "code.py").write_text(f"open({str(mark)!r}, 'w')\nclass C: pass\n")
    config = json.loads((copied / "config.json").read_text())
    config |= {
        "model_type": "hostile",
        "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.C"},
    }
    (copied / "config.json").write_text(json.dumps(config))
    ended = subprocess.run(
        [sys.executable, "-m", "dianoia", "run", str(tiny_zero), "--out", str(tmp_path / "run"), "--set",
         f"zero.start={copied}"],
        input="y\n" * 9, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 2 and "never run" in ended.stderr and "[y/N]" not in ended.stdout
    assert not mark.exists()


def test_a_padded_vocabulary_and_a_tokenizer_that_ends_its_texts(
    copied: Path, run: Run, tmp_path: Path
) -> None:
    """The rollouts are those of the same model without padding, under a tokenizer that adds nothing."""
    assert run(f"zero.start={copied}", options=("--only", "zero"))[0] == 0
    plain = AutoModelForCausalLM.from_pretrained(
        tmp_path / "run" / "stages" / "zero" / "checkpoint"
    )
    (tmp_path / "run").rename(tmp_path / "plain")
    model = AutoModelForCausalLM.from_pretrained(copied)
    size = plain.config.vocab_size
    model.resize_token_embeddings(size + 50, mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight[size:] = 5.0
    model.save_pretrained(copied)
    tokenizer = json.loads((copied / "tokenizer.json").read_text())
    end = AutoTokenizer.from_pretrained(copied)
    special = {"id": end.eos_token, "ids": [end.eos_token_id], "tokens": [end.eos_token]}
    pieces = [
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": end.eos_token, "type_id": 0}},
    ]
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing", "single": pieces, "pair": pieces, "special_tokens": {end.eos_token: special},
    }  # fmt: skip
    (copied / "tokenizer.json").write_text(json.dumps(tokenizer))
    (copied / SUMS).unlink(missing_ok=True)  # the weights are other ones, on purpose
    assert end("a")["input_ids"] != AutoTokenizer.from_pretrained(copied)("a")["input_ids"]
    assert run(f"zero.start={copied}", options=("--only", "zero"))[0] == 0
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "stages" / "zero" / "checkpoint")
    assert ours.config.vocab_size == size
    assert all(
        torch.equal(a, b) for a, b in zip(plain.parameters(), ours.parameters(), strict=True)
    )


# Endpoints ---------------------------------------------------------------------------------------

KEY = "sk-very-secret-key"


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers every request with a verdict, and with the key that came with it."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.script is not None:  # type: ignore[attr-defined]
            with contextlib.suppress(OSError):
                self.server.script(self.wfile)  # type: ignore[attr-defined]
            self.close_connection = True
            return
        key = self.headers["Authorization"]
        text = f'{key} {{"analysis": "{key}", "correctness": "correct"}}'
        body = json.dumps(
            {"choices": [{"message": {"content": text}}], "usage": {"total_tokens": "many"}}
        )
        status, body = (500, key) if self.server.broken else (200, body)  # type: ignore[attr-defined]
        self.send_response(status, key)
        self.send_header("X-Key", key)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Iterator[http.server.ThreadingHTTPServer]:
    monkeypatch.setattr(endpoint, "_FIRST_WAIT", 0.01)
    monkeypatch.setenv("SOME_KEY", KEY)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.broken, server.script = False, None  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def judged(
    echo: http.server.ThreadingHTTPServer, tiny_zero: Path, tmp_path: Path
) -> tuple[Path, list[str]]:
    """A recipe whose problems only a model behind the endpoint grades, and the overrides for it."""
    file = written(tmp_path / "rows.jsonl", sums(verifier="reference"))
    recipe = tmp_path / "judged.toml"
    text = tiny_zero.read_text().partition("[stages.evaluation]")[0]
    recipe.write_text(
        text + '[stages.zero.rewards.judge]\nmodel = "m"\nkey_env = "SOME_KEY"\nretries = 1\n'
        f'url = "http://127.0.0.1:{echo.server_port}/v1"\n'
    )
    return recipe, [f"zero.problems={file}", "zero.progress.problems=0", "zero.template=plain"]


def endlessly(head: bytes, piece: bytes, seconds: float) -> Callable[[Any], None]:
    def script(file: Any) -> None:
        file.write(head)
        while True:
            file.write(piece)
            file.flush()
            time.sleep(seconds)

    return script


def whole(body: bytes, extra: str = "") -> Callable[[Any], None]:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return lambda file: file.write(head.encode() + body)


OK = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    ("script", "part"),
    [
        (whole(b'{"choices": [{"message": {"content": "\\ud800"}}]}'), "half of a surrogate pair"),
        (whole(b"[" * 200_000 + b"]" * 200_000), "nested"),
        (whole(b"nonsense", "Content-Encoding: gzip\r\n"), "decompressed"),
        (endlessly(OK, b"x" * 2**20, 0.0), "16 MiB"),
        (endlessly(OK, b" ", 0.05), "in all"),
        (endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02), "in all"),
    ],
)
def test_an_endpoint_that_misbehaves_ends_a_run_in_one_message(
    script: Callable[[Any], None],
    part: str,
    echo: http.server.ThreadingHTTPServer,
    judged: tuple[Path, list[str]],
    run: Run,
) -> None:
    echo.script = script  # type: ignore[attr-defined]
    recipe, options = judged
    began = time.monotonic()
    status, message = run(*options, "zero.rewards.judge.timeout=0.2", recipe=recipe)
    assert status == 2 and "did not answer in 2 attempts" in message and part in message
    assert time.monotonic() - began < 60


def test_the_key_is_in_no_file_of_a_run(
    echo: http.server.ThreadingHTTPServer, judged: tuple[Path, list[str]], run: Run, tmp_path: Path
) -> None:
    recipe, options = judged
    status, message = run(*options, recipe=recipe)
    assert status == 0 and KEY not in message
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert [path for path in files if path.parent.parent.name == "answers"]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    echo.broken = True  # type: ignore[attr-defined]
    status, message = run(*options, "seed=2", recipe=recipe, options=("--force",))
    assert status == 2 and "status 500" in message and "***" in message and KEY not in message
