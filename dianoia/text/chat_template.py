"""Writes a template as a chat template in Jinja, and as the rules by which transformers splits an answer.

In: a `Template`, and the texts of the tokens that a tokenizer adds before a prompt and after an answer. Out: the text of
`chat_template.jinja`, which renders messages as `text.dialogue` does for a prompt, so that `apply_chat_template`, a
pipeline or a server asks a checkpoint as it was trained; and the `response_template` of transformers 5 (its
`utils/chat_parsing`), by which `parse_response` makes `reasoning_content` and `content` of an answer.

Decisions:
1. The last message may be the assistant's, to be continued: it is written as a learnt answer is, thought included.
   Earlier answers lose their thoughts, as in training, unless the stage has trained with them.
2. A thought may come in the message's text, in its tags, or under `reasoning_content`, `reasoning` or `thinking`.
3. Content may be a list of parts, whose texts are joined, as in data (`tasks.cells`); other parts are refused.
4. The text is that of training for every conversation. So are the tokens, unless a recipe's own template has nothing
   between question and answer that ends a token: then the end of an earlier question and its answer may share one.
5. `content` of a parsed answer is what stands in the answer's tags, where the template has such tags. Text outside of
   all tags is kept, on lines of its own.
"""

import json
import re
from collections.abc import Collection
from typing import Any

from dianoia.config.template_table import QUESTION, SYSTEM
from dianoia.text.template import Tags, Template

# Every tag of Jinja trims the white space on both sides, so that only `{{- -}}` writes anything.
_TEXT = """\
{%- macro text_of(content) -%}
    {%- if content is string -%}
        {{- content -}}
    {%- elif content is not none -%}
        {%- for part in content -%}
            {%- if part['type'] is defined and part['type'] != 'text' -%}
                {{- raise_exception('This model reads text, and a message holds a part of type ' ~ part['type']) -}}
            {%- endif -%}
            {{- part['text'] -}}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
"""
_MESSAGES = """\
{%- set state = namespace(system=SYSTEM_TEXT, asked='', open=false, questions=0) -%}
{{- PREFIX -}}
{%- for message in messages -%}
    {%- if message['role'] == 'system' or message['role'] == 'developer' -%}
        {%- set state.system = text_of(message['content']) -%}
    {%- elif message['role'] == 'user' -%}
        {#- A question without an answer before this one. -#}
        {{- state.asked ~ AFTER if state.open else '' -}}
        {%- if state.questions -%}
            {%- set before = LATER -%}
        {%- else -%}
            {%- set before = FIRST -%}
        {%- endif -%}
        {%- set state.asked = before ~ text_of(message['content']) -%}
        {%- set state.system = '' -%}
        {%- set state.open = true -%}
        {%- set state.questions = state.questions + 1 -%}
    {%- elif message['role'] == 'assistant' -%}
        {%- set content = text_of(message['content']) -%}
        {%- set thought = message['reasoning_content'] or message['reasoning'] or message['thinking'] -%}
        {%- if WRITTEN_IF -%}
            {%- set prompt = state.asked ~ AFTER if state.open else '' -%}
            {%- if thought -%}
                {%- set answer = RESPONSE -%}
            {%- else -%}
                {%- set answer = BARE -%}
            {%- endif -%}
        {%- else -%}
            {#- An earlier answer: without its thought. -#}
            {%- set prompt = SHORT if state.open else '' -%}
            {%- set answer = content if thought else content.split(CLOSE)[-1].lstrip() -%}
        {%- endif -%}
        {#- A blank, unless there is white space on either side. -#}
        {%- set spaced = (prompt and not prompt[-1:].strip()) or (answer and not answer[:1].strip()) -%}
        {{- prompt ~ ('' if spaced else ' ') ~ answer ~ END -}}
        {%- set state.open = false -%}
    {%- else -%}
        {{- raise_exception('This model knows messages of system, user and assistant, and not of ' ~ message['role']) -}}
    {%- endif -%}
{%- endfor -%}
{%- if state.open -%}
    {{- state.asked ~ (AFTER if add_generation_prompt else '') -}}
{%- endif -%}
"""


def chat_template(
    template: Template, prefix: str = "", end: str = "", keep_thoughts: bool = False
) -> str:
    """Return the template in Jinja, for the environment of transformers and vLLM.

    Args:
        prefix: the text of the tokens before a prompt, such as `<s>`.
        end: the text of the token after an answer.
        keep_thoughts: earlier answers keep their thoughts, as in an `sft` stage with `earlier_thoughts = "keep"`.
    """
    tags = (
        template.tags or Tags()
    )  # the usual ones: an answer may have tags even if the template has none
    first, after = template.prompt.split(QUESTION)
    later, later_after = template.later.split(QUESTION)
    has_thought = f"(thought or {_literal(tags.close_thought)} in content)"
    expressions = {
        "SYSTEM_TEXT": _literal(template.system),
        "PREFIX": _literal(prefix),
        "FIRST": _before(first),
        "LATER": _before(later),
        "WRITTEN_IF": f"loop.last or {has_thought}" if keep_thoughts else "loop.last",
        "RESPONSE": _response(template),
        "BARE": _bare(template),
        "CLOSE": _literal(tags.close_thought),
        "END": _literal(end),
        "SHORT": _choice(_short(template, after), _short(template, later_after)),
        "AFTER": _choice(_literal(after), _literal(later_after)),
    }
    # Longest names first: no name is a part of one that is still to be replaced.
    pattern = "|".join(sorted(expressions, key=len, reverse=True))
    body = re.sub(rf"\b({pattern})\b", lambda match: expressions[match[0]], _MESSAGES)
    comment = (
        f"{{#- Renders messages as the template {_comment(template.name)} of Dianoia does. -#}}\n"
    )
    return comment + _TEXT + body


def _literal(text: str) -> str:
    """Return a text as a literal of Jinja, which has the escapes of JSON."""
    return json.dumps(text, ensure_ascii=False)


def _comment(name: str) -> str:
    # A name is a key of a recipe and may hold anything.
    return name.replace("#}", "").replace("\n", " ")


def _before(text: str) -> str:
    """Return an expression for what stands before a question, with the system text of `state.system`."""
    if SYSTEM in text:
        head, tail = text.split(SYSTEM)
        return f"{_literal(head)} ~ state.system ~ {_literal(tail)}"
    return f"(state.system ~ '\\n' if state.system else '') ~ {_literal(text)}"


def _choice(first: str, later: str) -> str:
    """Return an expression: `first` after the first question of a conversation, `later` after the others."""
    return first if first == later else f"({first} if state.questions == 1 else {later})"


def _short(template: Template, after: str) -> str:
    """Return an expression for the prompt of an answer that is shown without its thought."""
    short = template.without_opening(after)
    # The blanks before the tag may be the question's own.
    question = "state.asked" if short or short == after else "state.asked.rstrip(' ')"
    return f"({question} ~ {_literal(short)})"


def _response(template: Template) -> str:
    """Return an expression for an answer with its thought, as `Template.respond` writes it."""
    if template.tags is None:
        return "(thought.strip() ~ '\\n' ~ content)"
    tags = template.tags
    opened = "" if template.opens_thought else f" {tags.open_thought}"
    inside = f"{_literal(opened)} ~ '\\n' ~ (thought.strip() ~ '\\n' if thought.strip() else '')"
    if template.final == "summary":
        closing = _literal(tags.close_thought + "\n")
        return f"({inside} ~ {closing} ~ content)"
    opening = _literal(f"{tags.close_thought}\n{tags.open_answer}")
    return f"({inside} ~ {opening} ~ content ~ {_literal(tags.close_answer)})"


def _bare(template: Template) -> str:
    """Return an expression for an answer whose thought, if any, stands in its text, as `dialogue.written`."""
    if not (template.opens_thought and template.tags):
        return "content"
    opening = _literal(template.tags.open_thought)
    # The prompt ends with this tag, and a second one would break the template.
    return (
        f"(content.lstrip()[{len(template.tags.open_thought)}:] "
        f"if content.lstrip().startswith({opening}) else content)"
    )


# Answers -------------------------------------------------------------------------------------------


def response_template(
    tags: Tags | None, final: str, anchor: str, opens_thought: bool, ends: Collection[str]
) -> dict[str, Any]:
    """Return the rules by which transformers' `parse_response` splits an answer into thought and content.

    Args:
        tags: of the response; None: all of it is content.
        final: `answer`: the content stands in tags of its own; `summary`: it follows the thought.
        anchor: the text between a question and its answer, without the tag that opens a thought.
        opens_thought: the prompt ends with that tag.
        ends: texts of the tokens that end an answer.
    """
    fields: dict[str, Any] = {}
    answer_tags = [tags.open_answer, tags.close_answer] if tags and final == "answer" else []
    if tags is not None:
        # With the white space before the tag, which would be content otherwise.
        fields["reasoning_content"] = {
            "open_pattern": rf"\s*{re.escape(tags.open_thought)}",
            "close": tags.close_thought,
        }
    stops = "|".join(re.escape(text) for text in [*answer_tags, *sorted(ends)])
    # Each part of the content ends at one of them; parts are joined.
    close = rf"\s*(?:{stops})|\s+\Z" if stops else r"\s+\Z"
    fields["content"] = {"close_pattern": close, "repeats": True, "join": "\n"}
    # What the prompt has of the answer follows the last anchor. Without a text to look for: the tag at its end, if any.
    opened = rf"(?=\s*{re.escape(tags.open_thought)}\s*\Z)" if tags and opens_thought else r"\Z"
    start = {"start_anchor": anchor} if anchor else {"start_anchor_pattern": opened}
    return {"version": 1, "defaults": {"role": "assistant"}, **start, "fields": fields}


def anchor_of(template: Template) -> str:
    """Return the text between a question and its answer, without the tag that opens a thought."""
    return template.without_opening(template.prompt.split(QUESTION)[1])
