"""Log-probabilities as the API writes them: tokens as texts and bytes.

In: scores of tokens. Out: the `logprobs` objects of chat messages and of completions. All are of temperature 1, before top-p
and top-k.
"""

from collections.abc import Callable, Sequence
from typing import Any

from dianoia.sampler.native.cpu.scoring import TokenScore

LEAST = -9999.0
"""Written for a log-probability of minus infinity, which JSON cannot hold."""
_REPLACEMENT = "\ufffd"


def _byte_of_character() -> dict[str, int]:
    """Return the bytes that the characters of byte-level tokenizers stand for, as GPT-2 has them."""
    # Printable bytes stand for themselves; the others are shifted past 255, where every character is printable.
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    shifted = {chr(256 + number): byte for number, byte in enumerate(hidden)}
    return {chr(byte): byte for byte in shown} | shifted


class TokenTexts:
    """The texts of a tokenizer's tokens."""

    def __init__(self, tokenizer: Any, decode: Callable[[list[int]], str]) -> None:
        """decode: returns the text of ids."""
        self._tokenizer, self._decode = tokenizer, decode
        self._bytes = _byte_of_character()
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self._by_bytes = "ByteLevel" in repr(getattr(backend, "decoder", ""))

    def text(self, token: int) -> str:
        """Return a token's text; `bytes:\\x..` for a part of a character, so that no two tokens look alike."""
        text = self._decode([token])
        if _REPLACEMENT not in text:
            return text
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in self.bytes(token))

    def bytes(self, token: int) -> list[int]:
        """Return a token's bytes."""
        text = self._decode([token])
        # A part of a UTF-8 character decodes to U+FFFD, so its bytes are read from the token itself.
        if _REPLACEMENT in text and self._by_bytes:
            piece = str(self._tokenizer.convert_ids_to_tokens(token))
            if all(character in self._bytes for character in piece):
                return [self._bytes[character] for character in piece]
        return list(text.encode())

    def of_chat(self, scores: Sequence[TokenScore]) -> dict[str, Any]:
        """Return the `logprobs` of a chat message: those of all its tokens, thought and tags included."""
        content = [
            {
                **self._entry(score.id, score.logprob),
                "top_logprobs": [self._entry(*likely) for likely in score.likeliest],
            }
            for score in scores
        ]
        return {"content": content, "refusal": None}

    def of_completion(
        self, scores: Sequence[TokenScore], likeliest: int, offset: int = 0
    ) -> dict[str, Any]:
        """Return the `logprobs` of a completion. offset: characters of the text before it."""
        # Offsets count characters of the tokens' own texts, as clients of OpenAI's API add them up.
        tokens = [self.text(score.id) for score in scores]
        offsets = []
        for score in scores:
            offsets.append(offset)
            offset += len(self._decode([score.id]))
        return {
            "tokens": tokens,
            "token_logprobs": [finite(score.logprob) for score in scores],
            "top_logprobs": [self._top(score) for score in scores] if likeliest else None,
            "text_offset": offsets,
        }

    def _entry(self, token: int, logprob: float | None) -> dict[str, Any]:
        return {
            "token": self.text(token),
            "logprob": finite(logprob),
            "bytes": self.bytes(token),
        }

    def _top(self, score: TokenScore) -> dict[str, float | None] | None:
        if score.logprob is None:
            return None
        return {self.text(token): finite(logprob) for token, logprob in score.likeliest}


def finite(logprob: float | None) -> float | None:
    """Return a log-probability that JSON can hold."""
    return None if logprob is None else max(logprob, LEAST)
