"""What a reward model sees of a response (DeepSeek-R1 section 3.1).

In: the text of a response. Out: the text that is scored. The helpful model sees the final part only, so
that it does not meddle with the reasoning; the safety model sees everything, the thought too.

Decisions where the paper is silent:
1. The final part is what follows the last tag that closes a thought, without the tags of an answer
   around it. A response without any thinking tag, as in public preference data, is final as a whole.
2. A response that opens a thought and never closes it has no final part: what is seen is empty.
3. Prompt and text are joined as they are; no end token follows. That is how TRL's GRPO calls a reward
   model, and it does not matter then whether a tokenizer pads with its end token.
4. The tag that a prompt opens belongs to the thought: it stands before a thought that is seen, wherever it
   came from, and not before a final part. So a prefilled prompt is scored as its sibling without the tag.
"""

from typing import Literal

from dianoia.text.template import Tags, Template

Sees = Literal["answer", "response"]
"""The final part of a response, or all of it."""


def seen(response: str, sees: Sees, tags: Tags | None = None) -> str:
    """The part of a response that a reward model scores, stripped; may be empty.

    `tags` are those of the template; None stands for the usual ones.
    """
    return final_part(response, tags or Tags()) if sees == "answer" else response.strip()


def final_part(response: str, tags: Tags) -> str:
    """What follows the thought; decisions 1 and 2 above."""
    _, closed, final = response.rpartition(tags.close_thought)
    if not closed and tags.open_thought in response:
        return ""
    return final.strip().removeprefix(tags.open_answer).removesuffix(tags.close_answer).strip()


def whole_response(template: Template, response: str) -> str:
    """A response with the tag that its prompt opened, white space around it aside."""
    if not (template.opens_thought and template.tags) or template.tags.open_thought in response:
        return response.strip()
    return template.tags.open_thought + response.rstrip()


def scored_text(template: Template, prompt: str, part: str) -> str:
    """The text that goes to a reward model: the prompt in its template, then what is `seen`."""
    rendered = template.render(prompt)
    if template.opens_thought and template.tags:
        rendered = rendered.removesuffix(template.tags.open_thought).rstrip(" ")
        part = whole_response(template, part) if template.tags.close_thought in part else part
    return rendered + part
