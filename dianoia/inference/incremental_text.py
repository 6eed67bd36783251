"""Text of a response while its tokens arrive: decoding without broken characters, and stop strings.

In: token ids as they are drawn. Out: text that no later token changes. A character may consist of several tokens, so the
end of a text is held back while it is incomplete; so is the beginning of a stop string. How the tokens are divided into
calls changes neither the text nor where it stops.
"""

from collections.abc import Callable, Sequence

_INCOMPLETE = "\ufffd"
"""What decoders write for bytes that are not UTF-8, those of an unfinished character included."""
_MOST_INCOMPLETE = 3
"""Bytes of an unfinished character, at most; decoders write one replacement character for them, or one per byte."""


class IncrementalText:
    """The text of one response."""

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        """decode: returns the text of ids, special tokens included."""
        self._decode = decode
        self._ids: list[int] = []
        self._prefix = self._boundary = 0
        """First id that is decoded again, since the text of a token may depend on those before it; and the id before which the
        text was last complete. Both are borders of characters."""
        self._sent = ""
        """The text from `_prefix` on that was returned already."""

    def push(self, ids: Sequence[int]) -> str:
        """Add tokens and return the text that they complete."""
        self._ids += ids
        text = self._decode(self._ids[self._prefix :])
        complete = _complete(text)
        # A decoder may show an unfinished character in place of text that was complete before; then nothing is new yet.
        new = complete[len(self._sent) :] if complete.startswith(self._sent) else ""
        self._sent += new
        # Only where all is complete and sent: the next decoding may then begin at the last border.
        if len(complete) == len(text) == len(self._sent):
            self._prefix, self._boundary = self._boundary, len(self._ids)
            self._sent = self._decode(self._ids[self._prefix :])
        return new

    def finish(self) -> str:
        """Return the rest of the text, with replacement characters for one that never became complete."""
        text = self._decode(self._ids[self._prefix :])
        new, self._sent = text[len(self._sent) :], text
        return new

    def tokens_within(self, characters: int) -> int:
        """Return the number of tokens after which the text has `characters` characters or more, incomplete ones aside."""
        # Bisection: the length of the complete text is taken to rise with its tokens.
        low, high = 0, len(self._ids)
        while low < high:
            middle = (low + high) // 2
            if len(_complete(self._decode(self._ids[:middle]))) >= characters:
                high = middle
            else:
                low = middle + 1
        return low


def _complete(text: str) -> str:
    """Return a text without the unfinished character at its end."""
    whole = text.rstrip(_INCOMPLETE)
    return text[: max(len(whole), len(text) - _MOST_INCOMPLETE)]


class StopStrings:
    """Finds the first of several stop strings in a text that arrives in parts."""

    def __init__(self, stops: Sequence[str]) -> None:
        """stops: none of them empty."""
        assert all(stops), "an empty stop string would stop everything"
        self._stops = tuple(stops)
        self._held = ""
        self._seen = 0
        self.end: int | None = None
        """Characters of the text up to the end of the stop string; None while none has come."""

    def push(self, text: str) -> str:
        """Add text and return what cannot belong to a stop string any more, up to the stop string if there is one."""
        if self.end is not None:
            return ""
        if not self._stops:
            return text
        self._seen += len(text)
        pending = self._held + text
        # The one that ends first, so that the result does not depend on how the text is divided.
        ends = [(at + len(stop), at) for stop in self._stops if (at := pending.find(stop)) >= 0]
        if ends:
            end, begin = min(ends)
            self.end = self._seen - len(pending) + end
            self._held = ""
            return pending[:begin]
        most = max(self._begun(pending, stop) for stop in self._stops)
        self._held = pending[len(pending) - most :]
        return pending[: len(pending) - most]

    def finish(self) -> str:
        """Return the text that was held back, once no more comes."""
        pending, self._held = self._held, ""
        return pending

    @staticmethod
    def _begun(text: str, stop: str) -> int:
        """Return the length of the longest beginning of a stop string that the text ends with."""
        # Less than the whole, which was looked for before; the longest, so that nothing is let out too early.
        longest = min(len(stop) - 1, len(text))
        return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
