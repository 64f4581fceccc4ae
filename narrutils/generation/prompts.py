"""What a generator is asked: a few real cases of one fold, and a request for one more.

Models that were taught to chat get a request; base models get a document of cases that
breaks off where the next one begins. Both speak in the schema's own titles, and both
may ask for a case of given labels. What all prompts share stands first, so that an
engine with a prefix cache reads it once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from narrutils.data.schema import Schema
from narrutils.errors import InputError
from narrutils.generation.conditioning import sentences
from narrutils.models.text import balanced_lengths

#: Opens every case of a completion prompt, so that it also marks where an answer ends.
SEPARATOR = "### Case"


@dataclass(frozen=True)
class Prompt:
    """One request: `messages` in chat form, `text` in completion form.

    `example_uids` are the real cases that it shows, `seen_folds` the folds that these
    and the `adapter`, if one is to write the answer, learned from. `following` are the
    headings that a completion still has to write: all but the first, on which the
    prompt ends. `requested` are the codes that were asked for, None where none were.
    """

    form: str
    example_uids: tuple[str, ...]
    seen_folds: tuple[int, ...]
    messages: tuple[dict[str, str], ...] = ()
    text: str = ""
    following: tuple[str, ...] = ()
    requested: Mapping[str, int] | None = None
    adapter: str = ""


@dataclass(frozen=True)
class Story:
    """One case for a prompt: its narratives, each one line, and the sentences true of its labels."""

    parts: tuple[str, ...]
    settings: tuple[str, ...] = ()


class Examples:
    """The cases that prompts may show, by fold; those with an empty text column are left out.

    `uids` holds the folds that have some.

    Args:
        cases: the text columns, indexed by uid.
        folds: fold numbers, indexed by uid.
        labels: given codes, indexed by uid, null where there is none; None where no prompt speaks of
            labels.
    """

    def __init__(
        self, cases: pd.DataFrame, folds: pd.Series, schema: Schema, labels: pd.DataFrame | None = None
    ):
        self.schema, self.labels = schema, labels
        self.parts = {
            uid: tuple(map(one_line, parts))
            for uid, *parts in complete_cases(cases, schema)[schema.text_columns].itertuples()
        }
        fold_of = folds[folds.index.isin(self.parts.keys())].sort_index()
        self.uids = {int(k): fold_of.index[fold_of == k].tolist() for k in sorted(fold_of.unique())}

    def of(self, fold: int, labelled: bool = False) -> list[str]:
        """Their uids, sorted.

        Args:
            labelled: leaves out the cases whose labels tell nothing, unless there are no others.

        Raises:
            InputError: the fold has no case with all its texts.
        """
        uids = self.uids.get(fold)
        if not uids:
            raise InputError(f"fold {fold} has no case with all of {', '.join(self.schema.text_columns)}")
        return [uid for uid in uids if not (labelled and uid in self.silent)] or uids

    @cached_property
    def silent(self) -> set[str]:
        """The cases whose given labels make no sentence."""
        if self.labels is None or self.labels.notna().all(axis=None):
            return set()
        return {uid for uid in self.parts if not self.story(uid, np.random.default_rng(0)).settings}

    def story(self, uid: str, rng: np.random.Generator | None = None) -> Story:
        """A case to show; with its labels' sentences, shuffled by `rng`, if one is given."""
        if rng is None:
            return Story(self.parts[uid])
        return Story(self.parts[uid], tuple(sentences(self.schema, self.labels.loc[uid], rng)))


def shortened(story: Story, most: int) -> Story:
    """The story in at most so many words: its longest narratives end earlier, with a sentence if they can."""
    parts = [part.split() for part in story.parts]
    kept = balanced_lengths([len(part) for part in parts], most)
    if sum(kept) == sum(map(len, parts)):
        return story
    return replace(story, parts=tuple(" ".join(_ended(part, n)) for part, n in zip(parts, kept)))


def _ended(words: list[str], most: int) -> list[str]:
    """The first words, at most so many, up to the end of a sentence if one ends in their second half."""
    ends = [n for n in range(most // 2, most) if words[n].rstrip("\"')”’").endswith((".", "!", "?"))]
    return words[: ends[-1] + 1 if ends and most < len(words) else most]


def few_shot(
    examples: Examples,
    fold: int,
    seed: int,
    index: int,
    form: str = "chat",
    max_examples: int = 7,
    max_words: int = 2000,
    requested: Mapping[str, int] | None = None,
) -> Prompt:
    """The prompt number `index`: real cases of `fold`, drawn without replacement.

    The first example always stays, others join until the whole prompt would pass
    `max_words`. The same arguments give the same prompt, whatever the order of rows.

    Args:
        max_examples: 0 shows none, for a generator that was adapted to such cases.
        max_words: of the prompt; also of its first example alone, which is shortened to so many.
        requested: codes that the new case is to have; `examples` then needs labels.

    Raises:
        InputError: the fold has no case with all its texts.
    """
    schema = examples.schema
    able = examples.of(fold, labelled=requested is not None)
    order = np.random.default_rng([seed, index]).permutation(able)[:max_examples].tolist()
    # Settings are drawn apart, so that the same cases are shown with and without labels.
    rng = None if requested is None else np.random.default_rng([seed, index, 1])
    wanted = () if requested is None else tuple(sentences(schema, requested, rng))
    stories = [shortened(examples.story(uid, rng), max_words) for uid in order]
    build = _chat if form == "chat" else _completion
    prompt, count = build(stories[:1], schema, wanted), len(stories[:1])
    while count < len(stories):
        longer = build(stories[: count + 1], schema, wanted)
        if _words(longer) > max_words:
            break
        prompt, count = longer, count + 1
    return replace(prompt, example_uids=tuple(order[:count]), seen_folds=(int(fold),), requested=requested)


def complete_cases(cases: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The cases whose every text column holds something."""
    texts = cases[schema.text_columns].fillna("").astype(str)
    return cases[texts.apply(lambda column: column.str.strip() != "").all(axis=1)]


def one_line(text: str) -> str:
    """One paragraph: line breaks inside a narrative would look like its end."""
    return " ".join(str(text).split())


def _words(prompt: Prompt) -> int:
    return len(prompt.text.split()) + sum(len(m["content"].split()) for m in prompt.messages)


def headings(schema: Schema) -> list[str]:
    """One heading a text column, from its title: `Law-enforcement report:`."""
    return [f"{t.title[:1].upper()}{t.title[1:]}:" for t in schema.text]


def instructions(schema: Schema) -> list[str]:
    """What the prompts say besides the cases, for screening to find it in an answer."""
    told = []
    for wanted in ((), ("",)):
        prompts = [_chat([], schema, wanted), _completion([], schema, wanted)]
        told += [text for p in prompts for text in (p.text, *(m["content"] for m in p.messages)) if text]
    return told


def _chat(stories: Sequence[Story], schema: Schema, wanted: Sequence[str] = ()) -> Prompt:
    """System role and user turn; the answer is to be bare paragraphs, one a text column."""
    system = (
        "You draft invented case-file abstracts on which text classifiers are trained. Your tone is that of "
        "an official record: factual, restrained and neutral."
    )
    if schema.caution:
        system = f"{system} {schema.caution}"
    parts = "; ".join(f"({n}) {t.title}" for n, t in enumerate(schema.text, 1))
    lead = f"Below are case files. Each consists of {_paragraphs(schema)}, in this order: {parts}."
    examples = [f"Example {n}:\n\n" + "\n\n".join(s.parts) for n, s in enumerate(stories, 1)]
    request = f"Now draft a new case file of the same kind about other people and other events{_that(wanted)}"
    form = (
        f"Write {_paragraphs(schema)} in the same order with an empty line between them. Reply with the case "
        "file alone, without a title, a heading or a remark."
    )
    user = "\n\n".join([lead, *examples, request, form])
    return Prompt(
        "chat", (), (), messages=({"role": "system", "content": system}, {"role": "user", "content": user})
    )


def _that(wanted: Sequence[str]) -> str:
    """How a request goes on: the settings that the new case is to have."""
    if not wanted:
        return "."
    points = "\n".join(f"- {sentence}" for sentence in wanted)
    return f". All of this holds of it, and the paragraphs together tell all of it:\n{points}"


def _paragraphs(schema: Schema) -> str:
    count = len(schema.text)
    return "one paragraph" if count == 1 else f"{count} paragraphs that differ in wording"


def _completion(stories: Sequence[Story], schema: Schema, wanted: Sequence[str] = ()) -> Prompt:
    """A document of numbered cases that ends on the first heading of the next one."""
    titles = headings(schema)
    lead = f"{schema.title}: case-file abstracts in neutral official language. {schema.caution}".rstrip()
    blocks = [lead]
    for n, story in enumerate(stories, 1):
        blocks += _opening(n, story.settings)
        blocks += [f"{title}\n{text}" for title, text in zip(titles, story.parts, strict=True)]
    blocks += _opening(len(stories) + 1, wanted)
    text = "\n\n".join([*blocks, f"{titles[0]}\n"])
    return Prompt("completion", (), (), text=text, following=tuple(titles[1:]))


def _opening(number: int, settings: Sequence[str]) -> list[str]:
    told = [f"What is known:\n{' '.join(settings)}"] if settings else []
    return [f"{SEPARATOR} {number}", *told]


def document(story: Story, schema: Schema) -> tuple[str, str]:
    """A case as an adapted generator learns it: the prompt without examples, and its answer."""
    prompt = _completion([], schema, story.settings)
    rest = zip(prompt.following, story.parts[1:], strict=True)
    answer = "\n\n".join([story.parts[0], *(f"{title}\n{text}" for title, text in rest)])
    return prompt.text, f"{answer}\n\n{SEPARATOR}"
