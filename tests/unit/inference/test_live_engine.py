"""The live engine: what it gives is what each request gets alone, whoever else is served, stopped or cancelled."""

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from transformers import PreTrainedTokenizerBase

from dianoia.base.errors import ConfigError
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.bases import shipped_model
from dianoia.inference.generation import EngineFailed, Finish, Generation, GenerationRequest
from dianoia.inference.live_engine import Engine, EngineFull
from dianoia.inference.model_line import decoder_of
from dianoia.models.loading import load_model, load_tokenizer
from dianoia.sampler.factory import make_sampler
from dianoia.sampler.interface import Sampler
from dianoia.sampler.native.cpu.cpu_decoder import DecodeLoop

SECONDS = 60.0
PROMPT = (17, 42, 99, 300, 7)
PARAMS = SamplingParams(40, frozenset({0}), temperature=1.0)
ENDLESS = SamplingParams(900, frozenset(), temperature=1.0)


class Served:
    """The shipped base, without what `inference.loaded_model` adds."""

    def __init__(self, slots: int = 6) -> None:
        folder = str(shipped_model("miniature-base-small"))
        network = load_model(folder)
        self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(folder)
        self.sampler: Sampler = make_sampler(network, slots=slots)
        self.positions: int | None = network.config.max_position_embeddings
        self.decode = decoder_of(self.tokenizer)

    def alone(self, request: GenerationRequest) -> list[Completion]:
        assert request.params is not None
        whole = Request(request.prompt_ids, request.samples, request.key)
        return self.sampler.generate([whole], request.params)[0]

    def text(self, completion: Completion) -> str:
        ids = completion.ids[:-1] if completion.stopped else completion.ids
        return self.decode(list(ids))


class Plain:
    """A sampler that knows no sessions."""

    def __init__(self, sampler: Sampler) -> None:
        self.vocabulary, self.generate = sampler.vocabulary, sampler.generate


@pytest.fixture(scope="module")
def served() -> Served:
    return Served()


@pytest.fixture
def engine(served: Served) -> Iterator[Engine]:
    with Engine({"base": served}) as engine:
        yield engine
        assert_empty(engine)


def assert_empty(engine: Engine) -> None:
    """No slot and no place in the queue is lost."""
    deadline = time.monotonic() + SECONDS
    # A request that has its result may be taken off the list of those at work a moment later.
    while (stats := engine.stats("base")).running or stats.waiting or engine._lines["base"]._live:
        assert time.monotonic() < deadline, stats
        time.sleep(0.002)


def request(number: int, **changes: object) -> GenerationRequest:
    made = GenerationRequest((*PROMPT, number), PARAMS, (number, 5))
    return replace(made, **changes)  # type: ignore[arg-type]


def streamed(generation: Generation) -> list[str]:
    texts = [""] * generation.request.samples
    for delta in generation:
        texts[delta.sample] += delta.text
    return texts


VARIETY = [
    PARAMS,
    SamplingParams(9, frozenset({0}), temperature=0.6, top_p=0.8),
    SamplingParams(30, frozenset({0, 5}), temperature=0.0),
    SamplingParams(1, frozenset()),
    SamplingParams(60, frozenset(), top_k=4),
]


def test_every_request_gets_what_it_gets_alone(served: Served, engine: Engine) -> None:
    """More requests than slots, of different parameters, streamed and not, in one crowd."""
    requests = [
        request(n, params=VARIETY[n % 5], samples=n % 3 + 1, streamed=n % 2 == 0, client=str(n % 4))
        for n in range(25)
    ]
    generations = [engine.submit("base", each) for each in requests]
    for each, generation in zip(requests, generations, strict=True):
        expected = served.alone(each)
        results = generation.result(SECONDS)
        assert [result.ids for result in results] == [c.ids for c in expected]
        assert [result.text for result in results] == [served.text(c) for c in expected]
        finishes = [Finish.STOP if c.stopped else Finish.LENGTH for c in expected]
        assert [result.finish for result in results] == finishes
        assert streamed(generation) == [result.text for result in results]


def test_many_samples_in_parts(served: Served, engine: Engine) -> None:
    many = request(3, samples=21)
    results = engine.submit("base", many).result(SECONDS)
    assert [result.ids for result in results] == [c.ids for c in served.alone(many)]


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("likeliest", [None, 2])
def test_a_stop_string_ends_a_sample(
    served: Served, engine: Engine, streamed: bool, likeliest: int | None
) -> None:
    endless = request(4, params=replace(ENDLESS, max_tokens=200))
    (completion,) = served.alone(endless)
    whole = served.text(completion)
    stop = whole[60:67]
    asked = replace(endless, stop=("\x00never", stop), streamed=streamed, likeliest=likeliest)
    generation = engine.submit("base", asked)
    (result,) = generation.result(SECONDS)
    expected = whole[: whole.index(stop)]
    assert (result.text, result.finish) == (expected, Finish.STOP)
    # The token that completes the stop string is the last one that counts.
    assert stop in served.decode(list(result.ids))
    assert stop not in served.decode(list(result.ids[:-1]))
    assert result.ids == completion.ids[: len(result.ids)]
    if likeliest:
        assert [score.id for score in result.scores] == list(result.ids)


@pytest.mark.usefixtures("in_c")
def test_scores_of_prompt_and_response(served: Served, engine: Engine) -> None:
    asked = request(
        5, params=replace(ENDLESS, max_tokens=30, temperature=0.7), likeliest=3, score_prompt=True
    )
    generation = engine.submit("base", replace(asked, samples=2))
    results = generation.result(SECONDS)
    for result, completion in zip(results, served.alone(replace(asked, samples=2)), strict=True):
        assert result.ids == completion.ids
        ids = asked.prompt_ids + result.ids
        whole = engine.submit(
            "base", GenerationRequest(ids, None, (), likeliest=3, score_prompt=True)
        )
        (scored,) = whole.result(SECONDS)
        assert (scored.ids, scored.text, scored.finish) == ((), "", Finish.LENGTH)
        assert whole.prompt_scores == generation.prompt_scores + result.scores


def test_a_coroutine_reads_it_too(served: Served, engine: Engine) -> None:
    asked = request(6, samples=3)

    async def read() -> list[str]:
        texts = [""] * 3
        async for delta in engine.submit("base", asked):
            texts[delta.sample] += delta.text
        assert [r.text for r in await engine.submit("base", asked).aresult()] == texts
        return texts

    assert asyncio.run(read()) == [served.text(c) for c in served.alone(asked)]


def test_a_cancelled_request_leaves_nothing_behind(served: Served, engine: Engine) -> None:
    long = engine.submit("base", request(7, params=ENDLESS, samples=30))
    next(iter(long))
    waiting = engine.submit("base", request(8))
    long.cancel()
    assert {result.finish for result in long.result(SECONDS)} == {Finish.CANCELLED}
    assert waiting.result(SECONDS)[0].text == served.text(served.alone(request(8))[0])
    long.cancel()  # does nothing after the end
    queued = engine.submit("base", request(9, params=ENDLESS))
    queued.cancel()
    assert queued.result(SECONDS)[0].finish == Finish.CANCELLED


def test_waiting_clients_take_turns(engine: Engine) -> None:
    """A client with hundreds of samples does not hold up one with a single one."""
    greedy = engine.submit(
        "base", request(1, params=replace(ENDLESS, max_tokens=150), samples=200, client="a")
    )
    single = engine.submit("base", request(2, client="b"))
    assert single.result(SECONDS)
    assert sum(result.finish is None for result in greedy.results) > 100
    greedy.cancel()


def test_a_full_queue_is_refused(served: Served) -> None:
    with Engine({"base": served}, max_waiting=4) as engine:
        first = engine.submit("base", request(1, params=ENDLESS, samples=4))
        next(iter(first))  # the slots are known
        room = engine.stats("base").slots + 4
        with pytest.raises(ConfigError, match=f"at most {room} may run or wait"):
            engine.submit("base", request(2, samples=room + 1))
        more = engine.submit("base", request(3, params=ENDLESS, samples=room - 4))
        with pytest.raises(EngineFull) as full:
            engine.submit("base", request(4))
        assert 1 <= full.value.retry_after <= 60
        first.cancel()
        more.cancel()
        assert_empty(engine)
        assert engine.submit("base", request(4)).result(SECONDS)


def test_what_cannot_be_served_is_refused(engine: Engine) -> None:
    with pytest.raises(ConfigError, match="did you mean 'base'"):
        engine.submit("bass", request(1))
    with pytest.raises(ConfigError, match="max_position_embeddings=1024"):
        engine.submit("base", request(1, params=replace(ENDLESS, max_tokens=1020)))
    with pytest.raises(ConfigError, match="top_p=2"):
        engine.submit("base", request(1, params=replace(PARAMS, top_p=2.0)))
    with pytest.raises(ConfigError, match="0 samples"):
        engine.submit("base", request(1, samples=0))
    for stranger in (-1, 1792, 2**40):
        with pytest.raises(ConfigError, match=f"token {stranger}.*0 to 1791"):
            engine.submit("base", GenerationRequest((1, stranger), PARAMS, (0,)))
    with pytest.raises(ConfigError, match="1 to 1024"):
        engine.submit("base", GenerationRequest((), None, (), score_prompt=True))


def test_the_context_can_be_limited(served: Served) -> None:
    with Engine({"base": served}, context=50) as engine:
        assert engine.context("base") == 50
        with pytest.raises(ConfigError, match="=50"):
            engine.submit("base", request(1, params=replace(PARAMS, max_tokens=45)))
        assert engine.submit("base", request(1)).result(SECONDS)


@pytest.mark.usefixtures("in_c")
def test_after_a_failure_the_next_request_is_served(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine({"base": served}) as engine:
        with monkeypatch.context() as broken:
            broken.setattr(DecodeLoop, "advance", _fail)
            generation = engine.submit("base", request(1))
            with pytest.raises(EngineFailed, match="out of order"):
                generation.result(SECONDS)
            with pytest.raises(EngineFailed, match="out of order"):
                list(generation)
        assert_empty(engine)
        assert engine.submit("base", request(1)).result(SECONDS)[0].finish is not None


def _fail(*_: object) -> bool:
    raise OSError("out of order")


def test_a_closed_engine_ends_its_requests_and_threads(served: Served) -> None:
    before = set(threading.enumerate())
    engine = Engine({"base": served})
    generations = [engine.submit("base", request(n, params=ENDLESS)) for n in range(20)]
    engine.close()
    finishes = {result.finish for each in generations for result in each.result(SECONDS)}
    assert Finish.CANCELLED in finishes
    assert set(threading.enumerate()) <= before
    with pytest.raises(ConfigError, match="closed"):
        engine.submit("base", request(1))


def test_without_sessions_requests_take_turns(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a model that only transformers runs: whole requests, one at a time."""
    monkeypatch.setattr(served, "sampler", Plain(served.sampler))
    with Engine({"base": served}) as engine:
        requests = [request(n, samples=2) for n in range(4)]
        generations = [engine.submit("base", each) for each in requests]
        # Of the same sampler, at the same time: its callers take turns.
        expected = [[c.ids for c in served.alone(each)] for each in requests]
        cancelled = engine.submit("base", request(9, samples=3))
        cancelled.cancel()
        for ids, generation in zip(expected, generations, strict=True):
            assert [r.ids for r in generation.result(SECONDS)] == ids
        assert {r.finish for r in cancelled.result(SECONDS)} == {Finish.CANCELLED}
        assert engine.stats("base").slots == 1
        assert not engine.can_score("base")
        with pytest.raises(ConfigError, match="C functions"):
            engine.submit("base", request(1, likeliest=0))
        assert_empty(engine)
