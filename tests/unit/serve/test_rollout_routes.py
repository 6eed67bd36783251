"""The routes of a server of rollouts: what they answer, refuse and do while samples are drawn."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest

from dianoia.base.records import Request, SamplingParams
from dianoia.sampler.draw import seed_of
from dianoia.sampler.factory import make_sampler
from tests.unit.rollout_servers import Server, engine_of, serving, wait_for
from tests.unit.sampler_models import make

MODEL = make("qwen3-tied")
GENERATE = "/inference/v1/generate"
SAMPLING = {"seed": 5, "max_tokens": 4}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(engine_of(MODEL)) as (running_server,):
        yield running_server


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        yield client


def body(**sampling: Any) -> dict[str, Any]:
    return {"token_ids": [4, 9], "sampling_params": {**SAMPLING, **sampling}}


def test_a_seed_draws_what_its_key_draws(http: httpx2.Client) -> None:
    key, sample = (3, 1, 4), 2
    params = SamplingParams(9, frozenset({0, 6}))
    expected = make_sampler(MODEL).generate([Request((4, 9), 3, key)], params)[0][sample]
    reply = http.post(
        GENERATE, json=body(seed=seed_of(key, sample), max_tokens=9, stop_token_ids=[6])
    ).json()
    (choice,) = reply["choices"]
    assert tuple(choice["token_ids"]) == expected.ids
    assert tuple(e["logprob"] for e in choice["logprobs"]["content"]) == expected.logprobs
    assert choice["finish_reason"] == ("stop" if expected.stopped else "length")
    count = len(expected.ids)
    assert choice["weight_versions"] == [{"version": "default", "start": 0, "end": count}]
    assert reply["usage"] == {
        "prompt_tokens": 2,
        "completion_tokens": count,
        "total_tokens": 2 + count,
    }


@pytest.mark.parametrize(
    ("request_body", "status", "text"),
    [
        (body(nonsense=1), 400, "sampling_params.nonsense"),
        (body(n=2), 400, "sampling_params.n"),
        (body(temperature=-1.0), 400, "temperature"),
        (body(max_tokens=95), 400, "takes 96 in all"),
        (body() | {"token_ids": [50]}, 400, "out of vocabulary"),
        (body() | {"token_ids": []}, 400, "token_ids"),
        (body() | {"model": "other"}, 404, "no such model"),
        ({"token_ids": [1]}, 400, "sampling_params"),
        ([], 400, "JSON object"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(
    request_body: Any, status: int, text: str, http: httpx2.Client
) -> None:
    reply = http.post(GENERATE, json=request_body)
    assert (reply.status_code, text in reply.json()["error"]["message"]) == (status, True), (
        reply.text
    )


@pytest.mark.parametrize(
    ("path", "request_body", "status", "text"),
    [
        ("/collective_rpc", {"method": "exec", "kwargs": {"weights_path": "x"}}, 400, "method"),
        ("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": "/no/folder"}}, 400, "no folder with weights"),
        ("/pause?mode=keep", {}, 400, "wait and abort"),
        ("/v1/unload_lora_adapter", {"lora_name": "policy"}, 404, "no such model"),
        ("/v1/chat/completions", {}, 404, "no such path"),
    ],
)  # fmt: skip
def test_other_calls_are_refused(
    path: str, request_body: Any, status: int, text: str, http: httpx2.Client
) -> None:
    reply = http.post(path, json=request_body)
    assert (reply.status_code, text in reply.text) == (status, True), reply.text


def test_weights_of_another_shape_are_refused_and_the_old_ones_stay(
    http: httpx2.Client, tmp_path: Path
) -> None:
    before = http.post(GENERATE, json=body()).json()["choices"]
    make("qwen2").save_pretrained(tmp_path)
    arguments = {"method": "reload_weights", "kwargs": {"weights_path": str(tmp_path)}}
    reply = http.post("/collective_rpc", json=arguments)
    assert reply.status_code == 400
    assert http.post(GENERATE, json=body()).json()["choices"] == before


def test_requests_wait_while_the_server_is_paused_and_weights_change_only_then(
    server: Server, http: httpx2.Client
) -> None:
    long = body(max_tokens=90, ignore_eos=True)
    long["token_ids"] = [4]
    answers: list[Any] = []

    def ask() -> None:
        answers.append(httpx2.post(server.url + GENERATE, json=long, trust_env=False, timeout=30))

    assert http.post("/pause?mode=wait", json={}).json() == {"status": "paused"}
    assert http.get("/is_paused").json() == {"is_paused": True}
    thread = Thread(target=ask)
    thread.start()
    try:
        wait_for(lambda: http.get("/health").status_code == 200)
        assert not answers
        http.post("/update_weight_version", json={"new_version": "v9"})
        assert http.get("/weight_info").json() == {"weight_version": "v9"}
    finally:
        http.post("/resume", json={})
        thread.join()
    (choice,) = answers[0].json()["choices"]
    assert (len(choice["token_ids"]), choice["weight_versions"][0]["version"]) == (90, "v9")
    server.engine.weight_version = "default"


def test_every_route_but_health_is_behind_the_key() -> None:
    with (
        serving(engine_of(MODEL), key="k") as (server,),
        httpx2.Client(base_url=server.url, trust_env=False) as client,
    ):
        assert client.get("/health").status_code == 200
        for path in ("/v1/models", "/server_info", "/weight_info", "/is_paused"):
            assert client.get(path).status_code == 401
        for path in (GENERATE, "/pause", "/resume", "/collective_rpc", "/reset_prefix_cache"):
            assert client.post(path, json={}).status_code == 401
        assert client.get("/v1/models", headers={"Authorization": "Bearer k"}).json()["data"]
