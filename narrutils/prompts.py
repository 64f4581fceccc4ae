"""What a generator is asked: unlabelled few-shot prompts, and how its answer is read.

A prompt shows a few real cases of one fold and asks for one more like them. Models
that were taught to chat get a request; base models get a document of cases that
breaks off where the next one begins. Both speak in the schema's own titles.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from narrutils.errors import InputError
from narrutils.schema import Schema

#: Opens every case of a completion prompt, so that it also marks where an answer ends.
SEPARATOR = "### Case"

FORMS = ("chat", "completion")


@dataclass(frozen=True)
class Prompt:
    """One request: `messages` in chat form, `text` in completion form.

    `example_uids` are the real cases that it shows, `seen_folds` the one fold that
    they belong to. `following` are the headings that a completion still has to write:
    all but the first, on which the prompt ends.
    """

    form: str
    example_uids: tuple[str, ...]
    seen_folds: tuple[int, ...]
    messages: tuple[dict[str, str], ...] = ()
    text: str = ""
    following: tuple[str, ...] = ()

    def is_answered(self, answer: str) -> bool:
        """Whether a completion has come to the end of its case: all after this is surplus."""
        return SEPARATOR in answer or (
            self._part_ended(answer) and self._written(answer) == len(self.following)
        )

    def next_heading(self, answer: str) -> str | None:
        """The heading due where a completion has just ended a part that is not its last."""
        due = self._part_ended(answer) and not self.is_answered(answer)
        return self.following[self._written(answer)] if due else None

    def _written(self, answer: str) -> int:
        return sum(heading in answer for heading in self.following)

    def _part_ended(self, answer: str) -> bool:
        """Whether an empty line follows the text of the part that is being written."""
        start = max((answer.rfind(h) + len(h) for h in self.following if h in answer), default=0)
        return "\n\n" in answer[start:].lstrip()


def few_shot(
    cases: pd.DataFrame,
    folds: pd.Series,
    fold: int,
    schema: Schema,
    seed: int,
    index: int,
    form: str = "chat",
    max_examples: int = 7,
    max_words: int = 2000,
) -> Prompt:
    """The prompt number `index`: real cases of `fold`, drawn without replacement.

    The first example always stays; others join until the whole prompt would pass
    `max_words`. The same arguments give the same prompt, whatever the order of rows.

    Args:
        cases: the text columns, indexed by uid; folds: fold numbers, indexed by uid.
            Cases with an empty text column are never shown.

    Raises:
        InputError: the fold has no case with all its texts, or `form` is unknown.
    """
    if form not in FORMS:
        raise InputError(f"prompt form is {form!r}; it takes {' or '.join(FORMS)}")
    shown = complete_cases(cases.loc[cases.index.isin(folds.index[folds == fold])], schema)
    if shown.empty:
        raise InputError(f"fold {fold} has no case with all of {', '.join(schema.text_columns)}")
    order = np.random.default_rng([seed, index]).permutation(sorted(shown.index))[:max_examples]
    stories = [[_line(shown.at[uid, column]) for column in schema.text_columns] for uid in order]
    build = _chat if form == "chat" else _completion
    prompt = build(stories[:1], schema)
    count = 1
    while count < len(stories):
        longer = build(stories[: count + 1], schema)
        if _words(longer) > max_words:
            break
        prompt, count = longer, count + 1
    return Prompt(form, tuple(order[:count].tolist()), (int(fold),), **prompt)


def complete_cases(cases: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The cases whose every text column holds something."""
    texts = cases[schema.text_columns].fillna("").astype(str)
    return cases[texts.apply(lambda column: column.str.strip() != "").all(axis=1)]


def _line(text: str) -> str:
    """One paragraph: line breaks inside a narrative would look like its end."""
    return " ".join(str(text).split())


def _words(prompt: dict) -> int:
    text = prompt.get("text", "") + " ".join(m["content"] for m in prompt.get("messages", ()))
    return len(text.split())


def headings(schema: Schema) -> list[str]:
    """One heading a text column, from its title: `Law-enforcement report:`."""
    return [f"{t.title[:1].upper()}{t.title[1:]}:" for t in schema.text]


def instructions(schema: Schema) -> list[str]:
    """What the prompts say besides the cases, for screening to find it in an answer."""
    chat, plain = _chat([], schema), _completion([], schema)
    return [*(m["content"] for m in chat["messages"]), plain["text"]]


def _chat(stories: Sequence[Sequence[str]], schema: Schema) -> dict:
    """System role and user turn; the answer is to be bare paragraphs, one a text column."""
    system = (
        "You draft invented case-file abstracts on which text classifiers are trained. Your tone is that of "
        "an official record: factual, restrained and neutral."
    )
    if schema.caution:
        system = f"{system} {schema.caution}"
    parts = "; ".join(f"({n}) {t.title}" for n, t in enumerate(schema.text, 1))
    examples = [f"Example {n}:\n\n" + "\n\n".join(story) for n, story in enumerate(stories, 1)]
    user = "\n\n".join(
        [
            f"Below are case files. Each consists of {_paragraphs(schema)}, in this order: {parts}.",
            *examples,
            f"Now draft a new case file of the same kind about other people and other events, as "
            f"{_paragraphs(schema)} in the same order with an empty line between them. Reply with the case "
            "file alone, without a title, a heading or a remark.",
        ]
    )
    return {"messages": ({"role": "system", "content": system}, {"role": "user", "content": user})}


def _paragraphs(schema: Schema) -> str:
    count = len(schema.text)
    return "one paragraph" if count == 1 else f"{count} paragraphs that differ in wording"


def _completion(stories: Sequence[Sequence[str]], schema: Schema) -> dict:
    """A document of numbered cases that ends on the first heading of the next one."""
    titles = headings(schema)
    lead = f"{schema.title}: case-file abstracts in neutral official language. {schema.caution}".rstrip()
    blocks = [lead]
    for n, story in enumerate(stories, 1):
        blocks.append(f"{SEPARATOR} {n}")
        blocks += [f"{title}\n{text}" for title, text in zip(titles, story, strict=True)]
    blocks.append(f"{SEPARATOR} {len(stories) + 1}")
    return {"text": "\n\n".join([*blocks, titles[0]]), "following": tuple(titles[1:])}


def split_story(text: str, schema: Schema, form: str) -> dict[str, str | None]:
    """A generated answer as the text columns.

    Where the parts cannot be told apart, the first column holds the whole answer and
    the others None, so that screening can name what is wrong and a person can look.
    """
    if form == "completion":
        text = headings(schema)[0] + text.split(SEPARATOR)[0]
        parts = _by_headings(text, schema)
    else:
        parts = _by_headings(text, schema) or _by_paragraphs(text, schema)
    if parts is None:
        parts = [_line(text.removeprefix(headings(schema)[0]))] + [None] * (len(schema.text) - 1)
    return dict(zip(schema.text_columns, parts, strict=True))


def _by_headings(text: str, schema: Schema) -> list[str] | None:
    """The text after each heading, if every heading opens a line and they come in order.

    A heading written twice with nothing between counts once. A part ends at its first
    empty line: what a base model adds after it is no part of the case.
    """
    marks = "|".join(re.escape(title.rstrip(":")) for title in headings(schema))
    pieces = re.split(rf"(?im)^[#* ]*({marks})[* ]*:[* ]*", text)
    found = [(title.lower(), part.strip()) for title, part in zip(pieces[1::2], pieces[2::2], strict=True)]
    following = [title for title, _ in found[1:]] + [""]
    found = [(t, part) for (t, part), after in zip(found, following, strict=False) if part or t != after]
    expected = [title.rstrip(":").lower() for title in headings(schema)]
    if pieces[0].strip() or [title for title, _ in found] != expected:
        return None
    return [_line(re.split(r"\n\s*\n", part)[0]) for _, part in found]


def _by_paragraphs(text: str, schema: Schema) -> list[str] | None:
    """One paragraph a text column: divided by empty lines, or else by single line breaks."""
    for gap in (r"\n\s*\n", r"\n"):
        paragraphs = [_line(p) for p in re.split(gap, text.strip()) if p.strip()]
        if len(paragraphs) == len(schema.text):
            return paragraphs
    return None
