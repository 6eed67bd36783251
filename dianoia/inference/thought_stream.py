"""Splits a response into thought and content, while it is written or as a whole.

In: text as it arrives. Out: the parts of it that are thought and that are content, stripped and without tags. However the text
was divided, the parts joined are the same, also of a response that breaks the rules of its template: the thought ends at the
first tag that closes it, since a stream cannot wait for a last one. Tags of a second thought stay in the content.
"""

from typing import NamedTuple

from dianoia.text.template import Tags, Template


class Parts(NamedTuple):
    """New text of a response."""

    thought: str
    content: str


class SplitText(NamedTuple):
    """A whole response in two parts."""

    thought: str | None
    """Stripped, without tags, and perhaps unfinished; None if the response has no thought."""
    content: str
    """What follows the thought, stripped, without tags."""


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
            # White space before the first character is dropped for good; later it waits for what follows.
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

    def __init__(self, template: Template, opened: bool) -> None:
        """opened: whether the prompt opens the thought (`Model.opens_thought`)."""
        # Of a template without tags the usual ones count, since a model may think in tags of its own.
        tags = template.tags or Tags()
        self._open, self._close = tags.open_thought, tags.close_thought
        self._answer_tags = (tags.open_answer, tags.close_answer)
        self._thinking = opened
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
            # What is still held stands behind the tag.
            self.thought_end = self._seen - len(self._held)

    def _certain(self, tags: tuple[str, ...], final: bool) -> int:
        """Return the length of the held text that no tag can begin in."""
        pending = self._held
        if final:
            return len(pending)
        # A tag may arrive in pieces, `</th` and `ink>`: the end that could become one stays back.
        begun = (n for tag in tags for n in range(1, len(tag)) if pending.endswith(tag[:n]))
        return len(pending) - max(begun, default=0)


def split_text(text: str, template: Template, opened: bool | None = None) -> SplitText:
    """Split a whole response, however it ended; `parsing.parse` says whether it keeps the rules.

    opened: whether the prompt opens the thought; None: by the template and the text, of which the first thinking tag then
    closes the thought.
    """
    if opened is None:
        opened = template.opens_thought or _closes_first(text, template.tags or Tags())
    stream = ThoughtStream(template, opened)
    first, last = stream.push(text), stream.finish()
    thought = first.thought + last.thought
    return SplitText(thought if stream.has_thought else None, first.content + last.content)


def _closes_first(text: str, tags: Tags) -> bool:
    before, closed, _ = text.partition(tags.close_thought)
    return bool(closed) and tags.open_thought not in before
