"""An outline in words: the law-enforcement and the medical-examiner narrative of a case."""

import re
from collections.abc import Iterator
from random import Random

from narrutils.data.demo.cases import Case
from narrutils.data.demo.phrases import fill, lists, pick, read, sentence
from narrutils.data.demo.plan import SOURCES, Mention, Outline, sayable

Note = tuple[str, Mention]  # a few words for a list, and what they mention

MALE = {"he": "he", "him": "him", "his": "his", "himself": "himself", "sex": "male"}
FEMALE = {"he": "she", "him": "her", "his": "her", "himself": "herself", "sex": "female"}
# Short notes that are merged into one sentence: yes and no form of each kind.
LISTED = {"history": ("history", "no_history"), "stress": ("stress", "no_stress")}


class Teller:
    """Puts one case into words; every choice comes from `rng`.

    Attributes:
        mentioned: sentence -> the mentions that it puts into words.
        kept: source -> the sentences of its narrative, as they were before a copy was edited.
    """

    def __init__(self, case: Case, rng: Random):
        self.case, self.rng = case, rng
        self.slots = person(case, rng)
        self.mentioned: dict[str, list[Mention]] = {}
        self.kept: dict[str, list[str]] = {}

    def narratives(self, outline: Outline) -> dict[str, str]:
        """Source -> text, one of them perhaps empty."""
        filled = [source for source in SOURCES if source != outline.empty]
        self.kept = {s: self.sentences(s, outline.mentions[s], outline.words[s]) for s in filled}
        told = dict(self.kept)
        if outline.near_duplicate:
            self.kept["CME"], told["CME"] = self.edited(told["LE"])
        return {source: self.joined(told.get(source, [])) for source in SOURCES}

    def sentences(self, source: str, mentions: list[Mention], words: int) -> list[str]:
        """Opening, facts and background in mixed order, and a closing; about `words` long."""
        scene = read("scene")[source]
        sentences = [self.say(pick(scene["opening"], self.rng)), self.place_of_injury(), self.cause(scene)]
        body = self.told(mentions)
        length = sum(len(s.split()) for s in sentences + body)
        for template in self.shuffled(read("background")[source]):
            if length >= words:
                break
            body.append(self.say(template))
            length += len(body[-1].split())
        sentences += dict.fromkeys(self.shuffled(body))  # what two mentions put alike is said once
        if self.rng.random() < 0.4:
            sentences.append(self.say(pick(scene["closing"], self.rng)))
        return sentences

    def shuffled(self, items: list) -> list:
        return self.rng.sample(items, k=len(items))

    def place_of_injury(self) -> str:
        """The sentence that the location is coded from."""
        place = self.phrase_of("places", self.case.truth["InjuryLocationType"])
        said = self.say(pick(read("scene")["found"], self.rng), place=place)
        return self.noted(said, [Mention("InjuryLocationType", "code")])

    def cause(self, scene: dict[str, list[str]]) -> str:
        """The sentence that the cause is coded from: its category, and nothing more."""
        cause = self.phrase_of("causes", self.case.truth["WeaponType1"])
        said = self.say(pick(scene["cause"], self.rng), cause=cause)
        return self.noted(said, [Mention("WeaponType1", "code")])

    def phrase_of(self, kind: str, code: int) -> str:
        return fill(pick(read("scene")[kind][code], self.rng), self.slots, self.rng)

    def told(self, mentions: list[Mention]) -> list[str]:
        """Mentions as sentences; short notes are merged, so there may be fewer."""
        mentions = self.shuffled(mentions)
        sentences = []
        for kind, (yes, no) in LISTED.items():
            sentences += self.listed(kind, self.nouns(mentions, yes), self.nouns(mentions, no))
        in_lists = [way for ways in LISTED.values() for way in ways]
        return sentences + [self.mention(m) for m in mentions if m.way not in in_lists]

    def nouns(self, mentions: list[Mention], way: str) -> list[Note]:
        """The notes to list; without an article where they follow "no" or "any"."""
        notes = [(self.words(m), m) for m in mentions if m.way == way]
        return [(re.sub(r"^an? ", "", words), m) for words, m in notes] if way.startswith("no_") else notes

    def listed(self, kind: str, yes: list[Note], no: list[Note]) -> Iterator[str]:
        """Sentences such as "history of a, b and c, but no d", of up to four notes a side."""
        while yes or no:
            some, yes = self.split(yes)
            none, no = self.split(no)
            if some and none and self.rng.random() < 0.7:
                yield self.list_sentence(kind, "mixed", some=some, none=none)
                continue
            if some:
                yield self.list_sentence(kind, "some", some=some)
            if none:
                yield self.list_sentence(kind, "none", none=none)

    def list_sentence(self, kind: str, form: str, **notes: list[Note]) -> str:
        last = {"some": "and", "none": "or"}
        words = {side: listing(distinct(of_side), last[side]) for side, of_side in notes.items()}
        said = self.say(pick(read("frames")[kind][form], self.rng), **words)
        return self.noted(said, [m for of_side in notes.values() for _, m in of_side])

    def split(self, notes: list[Note]) -> tuple[list[Note], list[Note]]:
        """The notes of the next sentence, and those left."""
        size = self.rng.choice((1, 2, 3, 3, 4))
        return notes[:size], notes[size:]

    def mention(self, mention: Mention) -> str:
        """One mention as a sentence of its own."""
        return self.noted(self.alone(mention), [mention])

    def noted(self, said: str, mentions: list[Mention]) -> str:
        """The sentence, once it is noted what it mentions."""
        self.mentioned.setdefault(said, []).extend(mentions)
        return said

    def alone(self, mention: Mention) -> str:
        frames = read("frames")["mention"]
        subject = relative(self.rng) if mention.way in ("kin", "kin_history") else {}
        words = self.words(mention, **subject)
        if mention.way in frames:
            return self.say(pick(frames[mention.way], self.rng), fact=words, **subject)
        if words.startswith("V ") and self.rng.random() < 0.3:
            return self.say(pick(frames["reported"], self.rng), fact=words)
        return sentence(words)

    def words(self, mention: Mention, **slots: str) -> str:
        phrase = pick(sayable(mention.variable, mention.way, self.case), self.rng)
        return fill(phrase.text, self.slots | slots, self.rng)

    def say(self, template: str, **slots: str) -> str:
        return sentence(fill(template, self.slots | slots, self.rng))

    def edited(self, sentences: list[str]) -> tuple[list[str], list[str]]:
        """The sentences that a copy keeps, and the copy: one moved, and a word changed, here and there."""
        kept = [s for s in sentences if self.rng.random() > 0.05]
        copy, swaps = kept, read("frames")["edits"]
        for old, new in self.rng.sample(sorted(swaps.items()), k=2):
            copy = [s.replace(old, new) for s in copy]
        if len(copy) > 3 and self.rng.random() < 0.5:
            copy.append(copy.pop(self.rng.randrange(1, len(copy))))
        return kept, copy

    def joined(self, sentences: list[str]) -> str:
        """One narrative; in some, spaces are missing after full stops."""
        missing = self.rng.choice(read("telling")["missing_space"])
        gaps = ["" if self.rng.random() < missing else " " for _ in sentences]
        return "".join(s + gap for s, gap in zip(sentences, gaps, strict=True)).strip()


def person(case: Case, rng: Random) -> dict[str, str]:
    """The slots that stay the same through a case: pronouns, age, partner, school."""
    pronouns = MALE if case.male else FEMALE
    partners = read("frames")["partners"]["male" if case.male else "female"]
    partner = pick(partners["minor" if case.age < 18 else "adult"], rng)
    school = "school" if case.age < 18 else rng.choice(("school", "college"))
    return pronouns | {"age": str(case.age), "partner": partner, "school": school, "own": pronouns["his"]}


def relative(rng: Random) -> dict[str, str]:
    """The slots for saying of a relative what could be said of V."""
    sex = rng.choice(("female", "male"))
    pronouns = FEMALE if sex == "female" else MALE
    kin = pick(lists()[f"kin_{sex}"], rng)
    return {"other": kin, "other_he": pronouns["he"], "own": pronouns["his"], "partner": "partner"}


def distinct(notes: list[Note]) -> list[str]:
    """The words of some notes, each once."""
    return list(dict.fromkeys(words for words, _ in notes))


def listing(notes: list[str], last: str) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    return notes[0] if len(notes) == 1 else f"{', '.join(notes[:-1])} {last} {notes[-1]}"
