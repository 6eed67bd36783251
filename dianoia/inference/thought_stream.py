"""Splits a response into thought and content while it is written.

In: text as it arrives. Out: the parts of it that are thought and that are content, stripped and without tags. Joined, they are
what `response.split_text` makes of the whole, for every response that opens and closes one thought. Of any other one all text
arrives too, on the side where it stood: `split_text` waits for the last closing tag, which a stream cannot.
"""

from typing import NamedTuple

from dianoia.text.template import Tags, Template


class Parts(NamedTuple):
    """New text of a response."""

    thought: str
    content: str


class _Stripped:
    """A text without white space at its ends, while it arrives."""

    def __init__(self) -> None:
        self._begun = False
        self._before, self._blanks = "", ""
        """What comes before the next text, and white space that is only passed on if more follows."""

    def push(self, text: str) -> str:
        """Add text and return what is certain."""
        whole = self._blanks + text
        visible = whole.rstrip()
        if not self._begun:
            visible = visible.lstrip()
        if not visible:
            self._blanks = whole if self._begun else ""
            return ""
        # White space at the end waits for what follows, since the whole is stripped in the end.
        self._blanks = whole[len(whole.rstrip()) :]
        before, self._before = self._before, ""
        self._begun = True
        return before + visible

    def break_line(self) -> None:
        """Let what follows begin on a line of its own."""
        if self._begun:
            self._begun, self._before, self._blanks = False, "\n", ""


class ThoughtStream:
    """The two parts of one response."""

    def __init__(self, template: Template, opened: bool | None = None) -> None:
        """opened: whether the prompt opens the thought; None: as the template says."""
        # Of a template without tags the usual ones count, since a model may think in tags of its own.
        tags = template.tags or Tags()
        self._open, self._close = tags.open_thought, tags.close_thought
        self._answer_tags = (tags.open_answer, tags.close_answer)
        self._thinking = template.opens_thought if opened is None else opened
        self._has_thought = self._thinking
        self._held = ""
        self._seen = 0
        self._thought, self._content = _Stripped(), _Stripped()
        self.thought_end: int | None = None
        """Characters of the response up to the end of the tag that closed the thought; None while none has."""

    @property
    def has_thought(self) -> bool:
        """Return True if the response has a thought, perhaps an empty one."""
        return self._has_thought

    @property
    def thinking(self) -> bool:
        """Return True while the thought is not closed."""
        return self._thinking

    def push(self, text: str) -> Parts:
        """Add text and return what is certain: no tag may have begun in it."""
        self._seen += len(text)
        self._held += text
        return self._parts(final=False)

    def finish(self) -> Parts:
        """Return what was held back, once no more comes."""
        return self._parts(final=True)

    def _parts(self, *, final: bool) -> Parts:
        thought, content = "", ""
        while True:
            tags = self._tags()
            # The tag that comes first, so that the result does not depend on how the text was divided.
            begin, tag = min(
                ((at, tag) for tag in tags if (at := self._held.find(tag)) >= 0),
                default=(self._certain(tags, final), ""),
            )
            text, self._held = self._held[:begin], self._held[begin + len(tag) :]
            if self._thinking:
                thought += self._thought.push(text)
            else:
                content += self._content.push(text)
            if not tag:
                return Parts(thought, content)
            self._pass(tag)

    def _tags(self) -> tuple[str, ...]:
        """Return the tags that mean something at this place."""
        if self._thinking:
            return (self._close,)
        # A second thought is no thought: its tags stay in the text.
        return (
            self._answer_tags
            if self._has_thought
            else (self._open, self._close, *self._answer_tags)
        )

    def _pass(self, tag: str) -> None:
        """Go on behind a tag."""
        if tag == self._open:
            self._thinking = self._has_thought = True
            self._content.break_line()
        elif tag == self._close:
            self._has_thought, self._thinking = True, False
            self.thought_end = self._seen - len(self._held)

    def _certain(self, tags: tuple[str, ...], final: bool) -> int:
        """Return the length of the held text that no tag can begin in."""
        pending = self._held
        if final:
            return len(pending)
        # A tag may arrive in pieces, `</th` and `ink>`: the end that could become one stays back.
        begun = (n for tag in tags for n in range(1, len(tag)) if pending.endswith(tag[:n]))
        return len(pending) - max(begun, default=0)
