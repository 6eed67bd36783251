"""The part of a response that a reward model scores (DeepSeek-R1, section 3.1).

In: the text of a response. Out: the text that is scored. The helpful model sees only the final part, so that it
does not interfere with the reasoning; the safety model sees everything, including the thought.

Decisions where the paper is silent:
1. The final part is the text after the last tag that closes a thought, without answer tags around it. A response
   without any thinking tag, as in public preference data, is final as a whole.
2. A response that opens a thought and never closes it has no final part: the scored text is empty.
3. Prompt and text are joined as they are, without an end token. TRL's GRPO calls a reward model that way, and then
   it does not matter whether a tokenizer pads with its end token.
4. An opening tag at the end of a prompt belongs to the thought: it comes before a thought that is scored, and not
   before a final part. So a prefilled template gives the same scores as the same template without the tag.
"""

from typing import Literal

from dianoia.text.template import Tags, Template

Sees = Literal["answer", "response"]
"""The final part of a response ("answer"), or all of it ("response")."""


def visible_part(response: str, sees: Sees, tags: Tags | None = None) -> str:
    """Return the part of a response that a reward model scores, stripped; may be empty.

    `tags` are those of the template; None means the usual ones.
    """
    return final_part(response, tags or Tags()) if sees == "answer" else response.strip()


def final_part(response: str, tags: Tags) -> str:
    """Return the text after the thought (decisions 1 and 2)."""
    # rpartition() puts all of a text without the tag into `final`.
    _, closed, final = response.rpartition(tags.close_thought)
    if not closed and tags.open_thought in response:
        return ""
    return final.strip().removeprefix(tags.open_answer).removesuffix(tags.close_answer).strip()


def whole_response(template: Template, response: str) -> str:
    """Return a response, stripped, with the opening tag of its prompt if it has one."""
    if not (template.opens_thought and template.tags) or template.tags.open_thought in response:
        return response.strip()
    return template.tags.open_thought + response.rstrip()


def scored_text(template: Template, prompt: str, part: str) -> str:
    """Return the text that a reward model scores: a question in its template, then the visible part."""
    return with_part(template, template.render(prompt), part)


def with_part(template: Template, rendered: str, part: str) -> str:
    """Return the text that a reward model scores: a rendered prompt, then the visible part."""
    if template.opens_thought and template.tags:
        # Decision 4: the tag moves from the prompt to the thought, if the part has one.
        rendered = template.without_opening(rendered)
        part = whole_response(template, part) if template.tags.close_thought in part else part
    return rendered + part
