"""Runs a function on several ranks, each in a process of its own, as `dianoia run --ranks` does.

The processes are forked from a server that has imported PyTorch and computed nothing, so that they start in milliseconds.
"""

import multiprocessing
import os
import pickle
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from typing import Any

import torch

from dianoia.distributed.group import joined
from dianoia.distributed.placement import LOOPBACK, Placement
from dianoia.distributed.process_group import ProcessGroup
from tests.fork_server import Forked

SECONDS = 120
"""After which a rank is taken to hang."""


class RankFailed(Exception):
    """A rank has raised; the message is its traceback."""


def run_ranks(
    function: Callable[..., Any],
    size: int,
    *arguments: Any,
    threads: int = 1,
    prepare: Callable[[], object] | None = None,
) -> list[Any]:
    """Call `function(*arguments)` on `size` ranks of so many threads, and return the results in the order of ranks.

    A group of one is no group: the function runs in a process by itself. `function` has to be importable by its name.
    """
    listener = socket.create_server((LOOPBACK, 0))
    connections, processes = [], []
    with listener:
        for rank in range(size):
            ours, theirs = multiprocessing.Pipe()
            place = rank, size, listener.getsockname()[1]
            call = place, threads, function, arguments, prepare
            files = theirs.fileno(), *([listener.fileno()] if rank == 0 else [])
            processes.append(Forked(f"{__name__}:work", call, files))
            theirs.close()
            connections.append(ours)
    try:
        return _results(connections)
    finally:
        for process in processes:
            process.kill()
            process.wait(None)
            process.close()
        for connection in connections:
            connection.close()


def _results(connections: Sequence[Connection]) -> list[Any]:
    results: dict[int, Any] = {}
    errors: dict[int, str] = {}
    deadline = time.monotonic() + SECONDS
    # All of them, also after an error: what the others say of it belongs to the message.
    while len(results) + len(errors) < len(connections):
        waiting = {c: rank for rank, c in enumerate(connections) if rank not in {*results, *errors}}
        ready = wait_for(list(waiting), max(0.0, deadline - time.monotonic()))
        if not ready:
            errors |= dict.fromkeys(waiting.values(), "hangs")
        for connection in ready:
            rank = waiting[connection]
            try:
                result, error = pickle.loads(connection.recv_bytes())
            except (EOFError, ConnectionResetError):
                result, error = None, "has ended without a result"
            if error is None:
                results[rank] = result
            else:
                errors[rank] = error
    if errors:
        raise RankFailed("\n".join(f"rank {rank}: {text}" for rank, text in errors.items()))
    return [results[rank] for rank in range(len(connections))]


def work(
    place: tuple[int, int, int],
    threads: int,
    function: Callable[..., Any],
    arguments: Sequence[Any],
    prepare: Callable[[], object] | None,
    results: int,
    listener: int | None = None,
) -> None:
    """Be a rank. `results` and `listener` are descriptors."""
    torch.set_num_threads(threads)
    (rank, size, port), connection = place, Connection(results)
    if prepare is not None:
        prepare()
    try:
        if size == 1:
            connection.send_bytes(pickle.dumps((function(*arguments), None)))
        else:
            placement = Placement(rank, size, rank, size, port=port, listener=listener)
            group = ProcessGroup(
                placement,
                torch.device("cpu"),
                on_silence=partial(_send_and_end, connection),
            )
            group.set_lanes(threads)
            with joined(group):
                result = function(*arguments)
            connection.send_bytes(pickle.dumps((result, None)))
            group.close()
    except BaseException:  # noqa: BLE001 - the caller raises it again
        _send_and_end(connection, traceback.format_exc())
    os._exit(0)


def _send_and_end(connection: Connection, error: str) -> None:
    connection.send_bytes(pickle.dumps((None, error)))
    os._exit(1)
