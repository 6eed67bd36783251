"""`dianoia serve`: models behind an OpenAI-compatible API, with a chat page."""

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from dianoia.base.errors import ConfigError, nearest
from dianoia.base.extras import pip_install
from dianoia.cli.number_options import whole_number
from dianoia.cli.output import print_json_line

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from dianoia.cli.run import Commands
    from dianoia.inference.checkpoints import Checkpoint
    from dianoia.serve.access import Access
    from dianoia.serve.service import Service

KEY_VARIABLE = "DIANOIA_KEY"
"""Environment variable with the key, where no option gives one."""
_MIB = 2**20
_whole = whole_number(1, "is no whole number of 1 or more")


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "serve",
        help="serve models by an OpenAI-compatible API, with a chat page",
        description="Serves a model, or all checkpoints of a run side by side by name (base, zero, r1), at "
        "http://127.0.0.1:8000: a chat page at /, the OpenAI API at /v1. docs/serve.md has the details.",
    )
    parser.add_argument(
        "model", metavar="MODEL|RUN",
        help="a folder, a run, one checkpoint of a run as runs/x:zero, a hub name, or a model that ships",
    )  # fmt: skip
    parser.add_argument(
        "--only", action="append", metavar="NAME[,NAME]", help="of a run only these checkpoints"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address (default: this machine alone)")
    parser.add_argument(
        "--port", type=_port, default=8000, help="default: 8000; 0 takes any free one"
    )
    parser.add_argument(
        "--key-file", type=Path, metavar="FILE",
        help=f"a file with the key that requests have to bring (or {KEY_VARIABLE} in the environment)",
    )  # fmt: skip
    parser.add_argument("--key", help="the key itself, which other users of the machine can see")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="a name under which browsers may ask, besides localhost and addresses; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--rollouts", action="store_true",
        help="serve one model to a training run instead: token ids, and weights from a folder (docs/served-rollouts.md)",
    )  # fmt: skip
    _add_limits(parser)
    engine = parser.add_argument_group("engine")
    engine.add_argument(
        "--slots", type=_whole, default=64, metavar="N",
        help="answers decoded at a time, per model (default: 64)",
    )  # fmt: skip
    engine.add_argument(
        "--device", help="such as cpu or cuda (default: the first GPU, else the CPU)"
    )
    engine.add_argument("--dtype", choices=("float32", "bfloat16"), help="of weights and cache")
    parser.add_argument(
        "--json", action="store_true", help="print the line with the address as JSON"
    )
    parser.set_defaults(command=serve)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the limits of requests."""
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-queue", type=_whole, default=256, metavar="N",
        help="answers that may wait, per model; more are refused with status 429 (default: 256)",
    )  # fmt: skip
    limits.add_argument(
        "--context", type=_whole, metavar="N",
        help="most tokens of a prompt with its answer (default: the model's, 8,192 at most)",
    )  # fmt: skip
    limits.add_argument(
        "--timeout", type=_seconds, default=600.0, metavar="SECONDS",
        help="time of a request (default: 600)",
    )  # fmt: skip
    limits.add_argument(
        "--max-body", type=_whole, default=4, metavar="MIB", help="size of a request (default: 4)"
    )


def serve(arguments: argparse.Namespace) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: the extra is missing, the address cannot be served, no key where one is needed.
        ModelError: there is no such model, or it cannot be loaded.
        Stopped: the server was stopped, which is its usual end.
    """
    _require_packages()
    from dianoia.serve.access import Access
    from dianoia.serve.running import bound_socket, check_address
    from dianoia.serve.running import serve as run
    from dianoia.serve.service import Options, Service

    # Uvicorn and the engine say what has failed.
    logging.basicConfig(format="dianoia: %(message)s", level=logging.WARNING)
    key = _key(arguments)
    check_address(arguments.host, key)
    checkpoints, default, title = _checkpoints(arguments.model, arguments.only)
    if arguments.rollouts and len(checkpoints) > 1:
        names = ", ".join(checkpoint.name for checkpoint in checkpoints)
        raise ConfigError(f"--rollouts serves one model; choose one by --only: {names}")
    listening = bound_socket(arguments.host, arguments.port)
    options = Options(
        max_waiting=arguments.max_queue,
        context=arguments.context,
        timeout=arguments.timeout,
        slots=arguments.slots,
        device=arguments.device,
        dtype=arguments.dtype,
    )
    service = Service(checkpoints, default, options)
    try:
        # The one that is asked first is there when the address is printed; others are loaded when they are asked.
        service.load_default()
    except BaseException:
        listening.close()
        service.close()
        raise
    port = listening.getsockname()[1]
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    url = f"http://{host}:{port}"

    def ready() -> None:
        names = list(service.checkpoints)
        if arguments.json:
            about = {"url": url, "models": names, "default": default, "key": key is not None}
            print_json_line(about)
        else:
            print(
                f"Serving {', '.join(names)} at {url} (API: {url}/v1); Ctrl-C ends it", flush=True
            )

    access = Access(key, arguments.allow_host, arguments.max_body * _MIB)
    if arguments.rollouts:
        _serve_rollouts(service, access, listening, ready)
    else:
        run(service, access, listening, title, ready)


def _require_packages() -> None:
    """Raise ConfigError if a package of the extra `serve` is missing."""
    try:
        import httptools  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"dianoia serve needs the package {error.name!r}: {pip_install('serve')}"
        ) from None


def _serve_rollouts(
    service: "Service", access: "Access", listening: "socket.socket", ready: "Callable[[], None]"
) -> None:
    """Serve the loaded model to a training run."""
    from dianoia.serve.rollout_engine import RolloutEngine
    from dianoia.serve.rollout_routes import make_rollout_app
    from dianoia.serve.running import serve_app

    name, options = service.default, service.options
    engine = RolloutEngine(service.model(name), name, slots=options.slots, context=options.context)
    # The service has only loaded the model: its own sessions would keep old weights.
    service.close()
    serve_app(make_rollout_app(engine, access, options.timeout), engine, listening, ready)


def _checkpoints(model: str, only: list[str] | None) -> "tuple[list[Checkpoint], str, str]":
    """Return what is served, the served name of the default, and the title of the page."""
    from dianoia.inference.checkpoints import (
        checkpoints_of,
        find_checkpoint,
        is_run,
        main_checkpoint,
    )
    from dianoia.serve.service import served_name

    folder = Path(model).expanduser()
    if not is_run(folder):
        if only:
            raise ConfigError(f"--only chooses among the checkpoints of a run, and {model} is none")
        checkpoint = find_checkpoint(model)
        return [checkpoint], served_name(checkpoint), ""
    checkpoints = checkpoints_of(folder)
    names = [name for text in only or () for name in text.split(",")]
    by_name = {
        alias: item
        for item in checkpoints
        for alias in (item.name, *item.aliases, served_name(item))
    }
    strangers = [name for name in names if name not in by_name]
    if strangers:
        raise ConfigError(
            f"--only {strangers[0]}: {model} has no such checkpoint{nearest(strangers[0], by_name)}; it has "
            f"{', '.join(map(served_name, checkpoints))}"
        )
    selected = [by_name[name] for name in names]
    served = [item for item in checkpoints if not names or item in selected]
    main = main_checkpoint(folder)
    default = main if main in served else served[-1]
    return served, served_name(default), folder.resolve().name


def _key(arguments: argparse.Namespace) -> str | None:
    """Return the key that requests have to bring. Raises ConfigError for one that cannot be sent."""
    if arguments.key is not None and arguments.key_file is not None:
        raise ConfigError("--key and --key-file: give one of them")
    key, where = os.environ.get(KEY_VARIABLE), KEY_VARIABLE
    if arguments.key_file is not None:
        try:
            key, where = arguments.key_file.read_text().strip(), f"--key-file {arguments.key_file}"
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"--key-file {arguments.key_file}: it cannot be read: {error}"
            ) from None
    elif arguments.key is not None:
        key, where = arguments.key, "--key"
    if key is not None and not (key and all("!" <= character <= "~" for character in key)):
        raise ConfigError(
            f"{where}: a key is one word of ASCII characters, such as that of `openssl rand -hex 24` (it is not shown here)"
        )
    return key


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds
