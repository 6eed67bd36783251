"""Measures the server: throughput of many requests at once against the sampler's own, and latency under a steady load.

    python -m benchmarks.serve                              throughput, for the miniature's base, on one core and on all
    python -m benchmarks.serve --model runs/x:zero --tokens 128 --rounds 1
    python -m benchmarks.serve --minutes 10                 latency of two clients per core, minute by minute

`dianoia serve` and the sampler alone are processes of their own. On one core both run on the first core with one thread, and the
clients on the others; on all cores everything shares them. Both get the same requests: prompts of 10 to 60 tokens, responses
of half to one and a half times `--tokens`. 64 clients wait for an answer each and send the next request; the sampler gets all
requests in one call. Tokens per CPU second count the server's process alone, tokens per second are wall clock.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from dianoia.base.records import Request, SamplingParams
from dianoia.inference.checkpoints import find_checkpoint
from dianoia.inference.loaded_model import asked_key, load

AT_ONCE = 64
TOKENS_PER_ROUND = 32_768
"""Response tokens of a measurement, about: some seconds of the miniature."""

Body = dict[str, Any]
Seconds = tuple[float, float, float]
"""Of CPU time of sampler or server, of wall clock, and of CPU time of the clients."""


def bodies(vocabulary: int, tokens: int, count: int) -> list[Body]:
    """Return requests for about `tokens` tokens each; prompts are ids, so that texts cost the sampler nothing that it has not."""
    randomness = random.Random(tokens)
    return [
        {
            "prompt": randomness.choices(range(1, vocabulary), k=randomness.randint(10, 60)),
            "max_tokens": randomness.randint(tokens // 2, tokens * 3 // 2),
            "temperature": 1.0,
            "top_p": 1.0,
            "top_k": 0,
            "seed": number,
            "ignore_eos": True,
        }
        for number in range(count)
    ]


# The sampler, in a process of its own --------------------------------------------------------------

_loaded: dict[str, Any] = {}


def load_sampler(model: str, threads: int) -> int:
    """Load the model in this process, and return the number of its tokens."""
    torch.set_num_threads(threads)
    _loaded["sampler"] = load(model, slots=AT_ONCE).sampler
    return int(_loaded["sampler"].vocabulary)


def draw(wanted: Sequence[Body]) -> Seconds:
    """Draw the samples of the requests."""
    requests = [
        Request(
            tuple(body["prompt"]),
            1,
            asked_key(body["seed"]),
            SamplingParams(body["max_tokens"], frozenset()),
        )
        for body in wanted
    ]
    begin, begin_cpu = time.perf_counter(), time.process_time()
    _loaded["sampler"].generate(requests, SamplingParams(1, frozenset()))
    return time.process_time() - begin_cpu, time.perf_counter() - begin, 0.0


# The server, in a process of its own ---------------------------------------------------------------


class Server:
    """`dianoia serve`, until the end of a `with` block."""

    def __init__(self, model: str) -> None:
        command = [sys.executable, "-m", "dianoia", "serve", model, "--port", "0", "--json"]
        command += ["--max-queue", "4096"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        ready = json.loads(self._process.stdout.readline())
        self.port = int(ready["url"].rpartition(":")[2])

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def _read(self, name: str) -> str:
        return Path("/proc", str(self._process.pid), name).read_text()

    def cpu_seconds(self) -> float:
        """Return the CPU time of all threads so far."""
        fields = self._read("stat").rpartition(")")[2].split()
        # user and system time, fields 14 and 15 of proc(5)
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        """Return the memory in use."""
        return int(self._read("statm").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def handles(self) -> tuple[int, int]:
        """Return the number of threads and of open files."""
        threads = int(self._read("stat").rpartition(")")[2].split()[17])
        return threads, len(list(Path("/proc", str(self._process.pid), "fd").iterdir()))


class Connection:
    """A client that keeps its connection. Plain sockets: a library would take more time than the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, server: Server) -> "Connection":
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", server.port))

    async def get(self, path: str) -> Any:
        """Return the JSON at a path."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return json.loads(await self._response(lambda: None))

    async def complete(self, body: Body, stream: bool, first: Callable[[], None]) -> None:
        """Have a request answered, and check the number of tokens. `first` is called when the first text is there."""
        options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        data = json.dumps({**body, **options}).encode()
        head = (
            f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n"
        )
        self._writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + data)
        answer = await self._response(first)
        if stream:
            *_, usage, done = (event for event in answer.split(b"\n\n") if event)
            assert done == b"data: [DONE]", answer[-300:]
            answer = usage.removeprefix(b"data: ")
        assert json.loads(answer)["usage"]["completion_tokens"] == body["max_tokens"]

    async def _response(self, first: Callable[[], None]) -> bytes:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert head.startswith("http/1.1 200"), head
        if "content-length: " in head:
            length = int(head.partition("content-length: ")[2].split()[0])
            answer = await self._reader.readexactly(length)
            first()
            return answer
        parts = []
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            parts.append((await self._reader.readexactly(size + 2))[:-2])
            if len(parts) == 1:
                first()
        await self._reader.readuntil(b"\r\n")
        return b"".join(parts)


# Throughput ----------------------------------------------------------------------------------------


async def ask_all(server: Server, wanted: Sequence[Body], stream: bool) -> None:
    """Have all requests answered, AT_ONCE at a time."""
    waiting = iter(wanted)

    async def client() -> None:
        connection = await Connection.to(server)
        for body in waiting:
            await connection.complete(body, stream, lambda: None)

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))


def served(server: Server, wanted: Sequence[Body], stream: bool) -> Seconds:
    """Have the requests answered."""
    begin, begin_cpu, begin_clients = time.perf_counter(), server.cpu_seconds(), time.process_time()
    asyncio.run(ask_all(server, wanted, stream))
    wall, clients = time.perf_counter() - begin, time.process_time() - begin_clients
    return server.cpu_seconds() - begin_cpu, wall, clients


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """Run this process, and what it starts, on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def throughput(
    model: str, lengths: Sequence[int], requests: int | None, rounds: int, one_core: bool
) -> None:
    """Print the rates of sampler and server on one core or on all, and their ratios."""
    cores = os.sched_getaffinity(0)
    theirs = {min(cores)} if one_core else cores
    os.environ["OMP_NUM_THREADS"] = str(len(theirs))
    with ProcessPoolExecutor(1, get_context("spawn")) as sampler:
        with on_cores(theirs):
            vocabulary = sampler.submit(load_sampler, model, len(theirs)).result()
            server = Server(model)
        with server, on_cores((cores - theirs) or cores):
            for tokens in lengths:
                count = requests or max(AT_ONCE, TOKENS_PER_ROUND // tokens // AT_ONCE * AT_ONCE)
                wanted = bodies(vocabulary, tokens, count)
                measured: dict[str, list[Seconds]] = {"sampler": [], "server": [], "streams": []}
                # In turns, since a machine's speed changes from one minute to the next.
                for _ in range(rounds):
                    measured["sampler"].append(sampler.submit(draw, wanted).result())
                    measured["server"].append(served(server, wanted, False))
                    measured["streams"].append(served(server, wanted, True))
                print_rates(f"{len(theirs)} x {tokens}", wanted, measured)


def print_rates(name: str, wanted: Sequence[Body], measured: dict[str, list[Seconds]]) -> None:
    """Print the medians of each measurement's rounds, and of its ratios to the sampler in the same rounds."""
    tokens = sum(body["max_tokens"] for body in wanted)
    for way, rounds in measured.items():
        cpu, wall = (
            f"{tokens / statistics.median(row[column] for row in rounds):8,.0f} per {unit} "
            f"({statistics.median(own[column] / row[column] for own, row in zip(measured['sampler'], rounds, strict=True)):.2f})"
            for column, unit in enumerate(("CPU s", "s"))
        )
        clients = statistics.median(row[2] for row in rounds)
        print(f"{name:9} {way:8} {cpu} {wall}  clients {clients:.1f} CPU s", flush=True)


# Latency -------------------------------------------------------------------------------------------


@dataclass
class Minute:
    """What one minute has seen, in seconds."""

    whole: list[float] = field(default_factory=list)
    """Of a request, from sending it to the last byte."""
    first: list[float] = field(default_factory=list)
    """Of a streamed one, to the first text."""


async def steady(server: Server, wanted: Sequence[Body], minutes: float, clients: int) -> None:
    """Have clients ask one request after the other, every other one streamed; print a line per minute."""
    start = time.monotonic()
    end = start + 60 * minutes
    table: dict[int, Minute] = {}

    async def client(number: int) -> None:
        connection = await Connection.to(server)
        for turn in range(sys.maxsize):
            begin = time.monotonic()
            if begin >= end:
                return
            stream, marks = turn % 2 == 1, list[float]()
            body = wanted[(number + turn * clients) % len(wanted)]
            await connection.complete(
                body, stream, lambda marks=marks: marks.append(time.monotonic())
            )
            minute = table.setdefault(int((begin - start) // 60), Minute())
            minute.whole.append(time.monotonic() - begin)
            if stream:
                minute.first.append(marks[0] - begin)

    async def print_minutes() -> None:
        print("minute requests   p50    p95    p99  first p50    p99    MiB threads files CPU s")
        cpu = server.cpu_seconds()
        for number in range(max(1, round(minutes))):
            await asyncio.sleep(max(0, min(end, start + 60 * (number + 1)) - time.monotonic()))
            used, minute = server.cpu_seconds(), table[number]
            threads, files = server.handles()
            p50, p95, p99 = (percentile(minute.whole, share) for share in (50, 95, 99))
            first = (percentile(minute.first, share) for share in (50, 99))
            print(
                f"{number + 1:6} {len(minute.whole):8,} {p50:.3f}  {p95:.3f}  {p99:.3f}      "
                + "  ".join(f"{seconds:.3f}" for seconds in first)
                + f"  {server.resident_mib():5.0f} {threads:7} {files:5} {used - cpu:5.1f}",
                flush=True,
            )
            cpu = used

    await asyncio.gather(print_minutes(), *(client(number) for number in range(clients)))
    health = await (await Connection.to(server)).get("/health")
    print(f"left afterwards: {health['models']}")


def percentile(values: Sequence[float], share: int) -> float:
    """Return the percentile `share` of the values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)]


def latency(model: str, tokens: int, minutes: float, one_core: bool) -> None:
    """Print latency, memory and handles of each minute."""
    cores = os.sched_getaffinity(0)
    theirs = {min(cores)} if one_core else cores
    os.environ["OMP_NUM_THREADS"] = str(len(theirs))
    with on_cores(theirs):
        server = Server(model)
    with server, on_cores((cores - theirs) or cores):
        wanted = bodies(vocabulary_of(model), tokens, 1000)
        asyncio.run(steady(server, wanted, minutes, 2 * len(theirs)))


def vocabulary_of(model: str) -> int:
    """Return the number of the tokens of a model."""
    config = Path(find_checkpoint(model).source, "config.json").read_text()
    return int(json.loads(config)["vocab_size"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="miniature-base")
    parser.add_argument("--tokens", default="32,128,512", help="lengths of responses, about")
    parser.add_argument("--requests", type=int, help="per measurement (default: 32,768 tokens)")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts")
    parser.add_argument("--cores", choices=("one", "all"), help="(default: one after the other)")
    parser.add_argument("--minutes", type=float, help="measure latency, for so long")
    arguments = parser.parse_args()
    lengths = [int(text) for text in arguments.tokens.split(",")]
    if arguments.minutes:
        latency(
            arguments.model,
            lengths[-1] if "," not in arguments.tokens else 128,
            arguments.minutes,
            arguments.cores == "one",
        )
        return
    for cores in [arguments.cores] if arguments.cores else ["one", "all"]:
        is_one = cores == "one"
        throughput(arguments.model, lengths, arguments.requests, arguments.rounds, is_one)


if __name__ == "__main__":
    main()
