"""The route for token ids, `/inference/v1/generate`: the body of a request, and the completion in its reply.

vLLM ignores sampling parameters that it does not know without a word, so the names stand here once, in `_body`, and are checked against
the real server by a test. Every parameter that a server could take from the model's folder is set: its penalties and end tokens
would change what is sampled.
"""

from dataclasses import dataclass
from typing import Any

from dianoia.base.errors import EndpointError
from dianoia.base.records import Completion, SamplingParams
from dianoia.sampler.draw import seed_of
from dianoia.sampler.served.connection import NoAnswer, OtherWeights

ROUTE = "/inference/v1/generate"
_NO_SEED = -1
"""vLLM reads this as no seed at all."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One sample to draw."""

    prompt_ids: tuple[int, ...]
    params: SamplingParams
    seed: int
    """64 bits, signed; see `sample_seed`."""

    def body(self, model: str | None) -> dict[str, Any]:
        """Return the body; `model` names an adapter, None the server's own weights."""
        params = self.params
        body: dict[str, Any] = {
            "token_ids": list(self.prompt_ids),
            "sampling_params": {
                # Several samples of one request would get neighbouring seeds, and so share random numbers with others.
                "n": 1,
                "seed": self.seed,
                "max_tokens": params.max_tokens,
                "temperature": params.temperature,
                "top_p": params.top_p,
                # All tokens are 0 in our records and -1 in vLLM's.
                "top_k": params.top_k or -1,
                "min_p": 0.0,
                "repetition_penalty": 1.0,
                "presence_penalty": 0.0,
                "frequency_penalty": 0.0,
                # Only these tokens end a response, whatever the folder says.
                "ignore_eos": True,
                "stop_token_ids": sorted(params.stop_ids),
                # 0: of the drawn token alone.
                "logprobs": 0,
                "detokenize": False,
                "skip_special_tokens": False,
            },
        }
        return body if model is None else {**body, "model": model}


def sample_seed(key: tuple[int, ...], sample: int) -> int:
    """Return the seed of a sample: the native sampler's own, so that a server of ours draws the same tokens.

    vLLM on a CPU uses its lower 32 bits, which are as good a hash as all of them.
    """
    seed = seed_of(key, sample)
    return seed if seed != _NO_SEED else 0


def completion_of(
    url: str, reply: Any, request: TokenRequest, version: str, weights_version: int
) -> Completion:
    """Return the completion in a reply.

    Args:
        version: the label that the server's weights were given; "" where an adapter was asked.
        weights_version: the learner's optimizer step, for the record.

    Raises:
        NoAnswer: the response was cut off.
        OtherWeights: it comes from other weights.
        EndpointError: the reply is none of this route.
    """
    try:
        (choice,) = reply["choices"]
        ids = tuple(choice["token_ids"])
        entries = choice["logprobs"]["content"]
        logprobs = tuple(float(entry["logprob"]) for entry in entries)
        same = tuple(entry["token_id"] for entry in entries) == ids
        versions = [span["version"] for span in choice.get("weight_versions") or ()]
        finish = choice["finish_reason"]
    except (LookupError, TypeError, ValueError, AttributeError):
        raise _unreadable(url, "it has not the fields of this route") from None
    if finish == "abort":
        raise NoAnswer(f"{url}{ROUTE}: the response was aborted after {len(ids)} tokens")
    # A server that names none is believed, since its weights are proved after each load.
    if version and any(name != version for name in versions):
        raise OtherWeights(
            f"{url}{ROUTE}: the response comes from the weights {', '.join(map(str, versions))} and not from {version}"
        )
    _check(url, request, ids, finish, same)
    params = request.params
    if params.top_p < 1 or params.top_k or not params.temperature:
        # A server's are over the tokens that were kept, and of greedy samples its own affair: nobody may learn from them, and
        # a NaN that spreads is seen.
        logprobs = (float("nan"),) * len(ids)
    return Completion(ids, logprobs, finish == "stop", weights_version)


def _check(url: str, request: TokenRequest, ids: tuple[int, ...], finish: str, same: bool) -> None:
    """Raise EndpointError for tokens that are no response to the request."""
    params = request.params
    if not same or not all(isinstance(token, int) for token in ids):
        raise _unreadable(url, "its log-probabilities are not those of its tokens")
    ends = [index for index, token in enumerate(ids) if token in params.stop_ids]
    # The one stop id, at the end: a server that leaves it out, or goes on behind it, would have other tokens learnt.
    if finish == "stop" and ends == [len(ids) - 1]:
        return
    if finish == "length" and not ends and len(ids) == params.max_tokens:
        return
    raise _unreadable(
        url,
        f"a response of {len(ids)} tokens that ends by {finish!r}, and {params.max_tokens} or an end token were asked for",
    )


def _unreadable(url: str, reason: str) -> EndpointError:
    return EndpointError(
        f"the reply of {url}{ROUTE} cannot be used: {reason}; the client was written for vLLM 0.32 and 0.33, and for "
        "`dianoia serve --rollouts`"
    )
