"""Measures the server: throughput at 64 requests at once against the sampler's own, and latency under a steady load.

    python -m benchmarks.serve                        throughput, for the miniature's base
    python -m benchmarks.serve --model runs/x:zero    of another model
    python -m benchmarks.serve --minutes 10           latency of two clients per core, minute by minute

Server, clients and sampler share one process and the same samples: 64 prompts of different lengths, responses of 50 to 250 tokens.
CPU time of the process is compared, and wall clock printed beside it, since other work on the machine would count in the latter.
"""

import argparse
import asyncio
import random
import statistics
import threading
import time
from contextlib import suppress
from typing import Any

import httpx2
import torch

from dianoia.base.errors import Stopped
from dianoia.base.records import Request, SamplingParams
from dianoia.inference.checkpoints import find_checkpoint
from dianoia.inference.loaded_model import asked_key
from dianoia.serve import running
from dianoia.serve.access import Access
from dianoia.serve.service import Options, Service, served_name

AT_ONCE = 64
ROUNDS = 5


def bodies(vocabulary: int) -> list[dict[str, Any]]:
    """Return the requests: token ids, so that texts cost the sampler nothing that it has not."""
    randomness = random.Random(0)
    return [
        {
            "prompt": randomness.choices(range(1, vocabulary), k=randomness.randint(10, 60)),
            "max_tokens": randomness.randint(50, 250),
            "temperature": 1.0,
            "top_p": 1.0,
            "top_k": 0,
            "seed": number,
            "ignore_eos": True,
        }
        for number in range(AT_ONCE)
    ]


def sampled(service: Service, name: str, wanted: list[dict[str, Any]]) -> None:
    """Draw the same samples with the sampler alone."""
    requests = [
        Request(
            tuple(body["prompt"]),
            1,
            asked_key(body["seed"]),
            SamplingParams(body["max_tokens"], frozenset()),
        )
        for body in wanted
    ]
    service.model(name).sampler.generate(requests, SamplingParams(1, frozenset()))


async def asked(url: str, wanted: list[dict[str, Any]], *, stream: bool) -> None:
    """Ask the server for all of them at once."""
    limits = httpx2.Limits(max_connections=AT_ONCE)
    async with httpx2.AsyncClient(timeout=600, trust_env=False, limits=limits) as client:
        posts = [client.post(url, json={**body, "stream": stream}) for body in wanted]
        for response in await asyncio.gather(*posts):
            assert response.status_code == 200, response.text


def best_rate(tokens: int, work: Any) -> tuple[float, float]:
    """Return tokens per second of CPU time and of wall clock, the best of several rounds each."""
    cpu, wall = [], []
    for _ in range(ROUNDS):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        work()
        cpu.append(tokens / (time.process_time() - begin_cpu))
        wall.append(tokens / (time.perf_counter() - begin))
    return max(cpu), max(wall)


def throughput(service: Service, name: str, url: str) -> None:
    """Print the rates and their ratios."""
    wanted = bodies(service.model(name).sampler.vocabulary)
    tokens = sum(body["max_tokens"] for body in wanted)
    ways = {
        "sampler": lambda: sampled(service, name, wanted),
        "server": lambda: asyncio.run(asked(url, wanted, stream=False)),
        "server, streams": lambda: asyncio.run(asked(url, wanted, stream=True)),
    }
    rates = {way: best_rate(tokens, work) for way, work in ways.items()}
    own = rates["sampler"]
    for way, (cpu, wall) in rates.items():
        print(
            f"{way:16} {cpu:10,.0f} tokens per CPU second ({cpu / own[0]:.2f}) "
            f"{wall:10,.0f} per second ({wall / own[1]:.2f})"
        )


def latency(service: Service, name: str, url: str, minutes: float) -> None:
    """Print the latency of each minute under two clients per core, one request after the other."""
    wanted = bodies(service.model(name).sampler.vocabulary)
    end = time.monotonic() + 60 * minutes
    seconds: list[tuple[float, float]] = []

    def client(number: int) -> None:
        with httpx2.Client(timeout=600, trust_env=False) as http:
            while time.monotonic() < end:
                begin = time.monotonic()
                response = http.post(url, json=wanted[number % AT_ONCE])
                assert response.status_code == 200, response.text
                seconds.append((begin, time.monotonic() - begin))

    start = time.monotonic()
    clients = 2 * torch.get_num_threads()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for minute in range(max(1, round(minutes))):
        within = sorted(it for begin, it in seconds if int((begin - start) // 60) == minute)
        if within:
            late = within[int(0.99 * (len(within) - 1))]
            median = statistics.median(within)
            print(
                f"minute {minute + 1:3}: {len(within):6,} requests, median {median:.3f} s, "
                f"99 % {late:.3f} s"
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="miniature-base")
    parser.add_argument("--minutes", type=float, help="measure latency, for so long")
    arguments = parser.parse_args()
    checkpoint = find_checkpoint(arguments.model)
    name = served_name(checkpoint)
    service = Service([checkpoint], name, Options(max_waiting=1024))
    service.load_default()
    listening = running.bound_socket("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1/completions"
    ready, servers = threading.Event(), []

    def run() -> None:
        with suppress(Stopped):
            running.serve(service, Access(), listening, "", ready.set, servers.append)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait()
    try:
        if arguments.minutes:
            latency(service, name, url, arguments.minutes)
        else:
            throughput(service, name, url)
    finally:
        servers[0].should_exit = True
        thread.join()


if __name__ == "__main__":
    main()
