"""The program of `models.tokenizer_probe`: runs an untrusted tokenizer and chat template on a short text.

In: a model folder, and limits on time and memory. Out: JSON on standard output. It has a module of its own, because
the process imports nothing else of the package: it should start quickly and hold little.
"""

import json
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

MAX_OUTPUT = 2**20
"""Largest number of characters or tokens that SAMPLE may become."""
SAMPLE = (
    "Question: if 12 apples cost $3.60, what do 7 cost? Let $x=\\frac{3.60}{12}$.\n\taaaa bbbb    (a+b)^2 = a^2+2ab+b^2; "
    "«Über» naïve 北京有多少人？ \U0001f600 <think> </think> "
) * 8


def try_out(folder: str, cpu_seconds: int, size: int) -> None:
    """Limit this process, then print as JSON what the tokenizer of a folder does with SAMPLE."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    sys.stdout.write(json.dumps(_answer(Path(folder))))


def _answer(folder: Path) -> dict[str, Any]:
    """Return `size`, one more than the largest id of a token that is not special; or the limit that is exceeded
    (`beyond`); or the reason why nothing can be read (`unreadable`).
    """
    size, file = None, folder / "tokenizer.json"
    beyond = {"beyond": f"{MAX_OUTPUT:,} characters or tokens"}
    if file.is_file():
        try:
            tokenizer = Tokenizer.from_file(str(file))
            special = {
                n for n, token in tokenizer.get_added_tokens_decoder().items() if token.special
            }
            # Special tokens may lie beyond the vocabulary of the model; they are checked elsewhere.
            size = max(set(tokenizer.get_vocab().values()) - special, default=-1) + 1
            for add_special in (True, False):
                ids = tokenizer.encode(SAMPLE, add_special_tokens=add_special).ids
                # Decoding can expand as well as encoding.
                if len(ids) > MAX_OUTPUT or len(tokenizer.decode(ids)) > MAX_OUTPUT:
                    return beyond
        except MemoryError:
            raise
        except BaseException as error:  # noqa: BLE001 - the library raises plain exceptions, and panics
            return {"unreadable": str(error)[:300]}
    return beyond if any(len(text) > MAX_OUTPUT for text in _rendered(folder)) else {"size": size}


def _rendered(folder: Path) -> list[str]:
    """Return two messages as each chat template of a folder renders them; one that raises an error has no text."""
    messages = [{"role": "user", "content": SAMPLE}, {"role": "assistant", "content": SAMPLE}]
    # The same environment as in transformers.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _raise_exception
    texts = []
    for template in _templates(folder):
        with suppress(
            TemplateError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError
        ):
            compiled = environment.from_string(template)
            for add_prompt in (False, True):
                texts.append(
                    compiled.render(
                        messages=messages,
                        add_generation_prompt=add_prompt,
                        bos_token="<s>",
                        eos_token="</s>",
                    )
                )
    return texts


def _raise_exception(message: str) -> None:
    """Stand in for the function that chat templates call to refuse messages."""
    raise ValueError(message)


def _templates(folder: Path) -> list[str]:
    file, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    texts = [file.read_text(encoding="utf-8", errors="replace")] if file.is_file() else []
    value = json.loads(config.read_bytes()).get("chat_template") if config.is_file() else None
    # Several templates are a list of objects with `name` and `template`.
    entries = value if isinstance(value, list) else [value]
    templates = [entry.get("template") if isinstance(entry, dict) else entry for entry in entries]
    return [*texts, *(text for text in templates if isinstance(text, str))]
