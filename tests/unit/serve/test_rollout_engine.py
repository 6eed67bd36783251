"""What a server of rollouts does, without HTTP."""

import asyncio
import threading
from pathlib import Path

import pytest
import torch

from dianoia.base.records import SamplingParams
from dianoia.config import LoRASettings
from dianoia.learner.lora import adapters, add_adapters, save_adapter
from dianoia.sampler.native.cpu.cpu_decoder import DecodeLoop
from dianoia.serve.api_errors import ApiError
from dianoia.serve.rollout_engine import RolloutEngine
from tests.unit.rollout_servers import engine_of
from tests.unit.sampler_models import make


def engine_and_adapter(folder: Path) -> tuple[RolloutEngine, Path]:
    """Return the engine of a model, and the folder of an adapter of it."""
    model, source, adapter = make("qwen3"), folder / "start", folder / "adapter"
    model.save_pretrained(source)
    engine = engine_of(model, source=source)
    add_adapters(model, LoRASettings(rank=2), seed=1)
    with torch.no_grad():
        for layer in adapters(model).values():
            layer.B.normal_()
    save_adapter(adapter, model)
    return engine, adapter


@pytest.mark.usefixtures("in_c")
def test_an_adapter_that_is_unloaded_aborts_its_samples(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A response that was cut off would otherwise be told as one that has ended."""
    engine, folder = engine_and_adapter(tmp_path)
    has_begun, may_go_on, advance = threading.Event(), threading.Event(), DecodeLoop.advance

    def gated(self: DecodeLoop, steps: int, shares: int) -> bool:
        has_decoded = advance(self, 1, shares)
        has_begun.set()
        assert may_go_on.wait(30.0)
        return has_decoded

    monkeypatch.setattr(DecodeLoop, "advance", gated)

    async def unload_while_it_draws() -> tuple[object, str]:
        await engine.load_adapter("adapter", folder)
        params = SamplingParams(70, frozenset())
        drawing = asyncio.create_task(engine.draw("adapter", (4, 9), params, seed=5))
        await asyncio.to_thread(has_begun.wait, 30.0)
        # Only the end of the session, in a thread of its own, waits for the decoder.
        asyncio.get_running_loop().call_later(0.02, may_go_on.set)
        await engine.unload_adapter("adapter")
        return await drawing

    try:
        assert asyncio.run(unload_while_it_draws()) == (None, "default")
        assert engine.models == ["policy"]
    finally:
        may_go_on.set()
        engine.close()


def test_of_two_loads_of_one_name_at_a_time_the_second_is_refused(tmp_path: Path) -> None:
    engine, folder = engine_and_adapter(tmp_path)

    async def load_twice() -> list[BaseException | None]:
        loads = [engine.load_adapter("adapter", folder) for _ in range(2)]
        return await asyncio.gather(*loads, return_exceptions=True)

    try:
        first, second = asyncio.run(load_twice())
        assert first is None and isinstance(second, ApiError) and "already loaded" in str(second)
        assert engine.models == ["policy", "adapter"]
    finally:
        engine.close()
