"""What `models.tokenizer_probe` runs in a process of its own: a stranger's tokenizer and chat template on a short text."""

import json
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

MOST = 2**20
"""Characters or tokens that may become of SAMPLE."""
SAMPLE = (
    "Question: if 12 apples cost $3.60, what do 7 cost? Let $x=\\frac{3.60}{12}$.\n\taaaa bbbb    (a+b)^2 = a^2+2ab+b^2; "
    "«Über» naïve 北京有多少人？ \U0001f600 <think> </think> "
) * 8


def try_out(folder: str, cpu_seconds: int, size: int) -> None:
    """Bound this process, then print what the tokenizer of a folder does with SAMPLE, as JSON."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):  # macOS has no such bound
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    sys.stdout.write(json.dumps(_answer(Path(folder))))


def _answer(folder: Path) -> dict[str, Any]:
    """`size`, one more than the last id of a token that is not special, or what bound is broken (`beyond`), or why nothing can be read (`unreadable`)."""
    size, file = None, folder / "tokenizer.json"
    beyond = {"beyond": f"{MOST:,} characters or tokens"}
    if file.is_file():
        try:
            tokenizer = Tokenizer.from_file(str(file))
            special = {
                n for n, token in tokenizer.get_added_tokens_decoder().items() if token.special
            }
            size = max(set(tokenizer.get_vocab().values()) - special, default=-1) + 1
            for whole in (True, False):
                ids = tokenizer.encode(SAMPLE, add_special_tokens=whole).ids
                if len(ids) > MOST or len(tokenizer.decode(ids)) > MOST:
                    return beyond
        except MemoryError:
            raise
        except BaseException as error:  # noqa: BLE001 - the library raises plain ones, and panics
            return {"unreadable": str(error)[:300]}
    return beyond if any(len(text) > MOST for text in _rendered(folder)) else {"size": size}


def _rendered(folder: Path) -> list[str]:
    """What the chat templates of a folder make of two messages; what raises an error makes nothing."""
    messages = [{"role": "user", "content": SAMPLE}, {"role": "assistant", "content": SAMPLE}]
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    texts = []
    for template in _templates(folder):
        with suppress(
            TemplateError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError
        ):
            compiled = environment.from_string(template)
            for prompt in (False, True):
                texts.append(
                    compiled.render(
                        messages=messages,
                        add_generation_prompt=prompt,
                        bos_token="<s>",
                        eos_token="</s>",
                    )
                )
    return texts


def _refuse(why: str) -> None:
    raise ValueError(why)


def _templates(folder: Path) -> list[str]:
    file, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    texts = [file.read_text(encoding="utf-8", errors="replace")] if file.is_file() else []
    written = json.loads(config.read_bytes()).get("chat_template") if config.is_file() else None
    entries = written if isinstance(written, list) else [written]
    named = [entry.get("template") if isinstance(entry, dict) else entry for entry in entries]
    return [*texts, *(text for text in named if isinstance(text, str))]
