"""Which source tells which fact, and how: the outline of a case before it has words.

What makes reading hard is decided here: facts told once or by inference only,
sources that disagree, and, on cases without a circumstance, sentences that speak
of it all the same (denied, said of a relative, or of another time).
"""

from dataclasses import dataclass, field
from random import Random

from narrutils.data.demo.cases import Case, true_rate
from narrutils.data.demo.phrases import Phrase, facts, read

SOURCES = ("LE", "CME")
# The group of phrases that a way of mentioning is made from, where the names differ.
GROUP = {
    "denied": "predicates",
    "kin": "predicates",
    "no_history": "history",
    "kin_history": "history",
    "no_stress": "stress",
}


@dataclass(frozen=True)
class Mention:
    """One variable, mentioned in one way (see `told` and `untold` in telling.yaml, and `test_only`)."""

    variable: str
    way: str


@dataclass
class Outline:
    """What each source mentions, and how the two sources relate."""

    mentions: dict[str, list[Mention]] = field(default_factory=lambda: {source: [] for source in SOURCES})
    near_duplicate: bool = False
    empty: str | None = None
    words: dict[str, int] = field(default_factory=dict)

    def risk(self, variable: str) -> float:
        """How much likelier than usual an abstractor overlooks this true fact."""
        ways = [m.way for mentions in self.mentions.values() for m in mentions if m.variable == variable]
        told = [way for way in ways if way not in read("telling")["untold"]]
        implied = all(way in ("inferred", "test_only") for way in told)  # or told by another fact only
        contradicted = len(told) < len(ways)
        return (2.0 if implied else 1.0) * (1.6 if len(told) < 2 else 1.0) * (2.0 if contradicted else 1.0)


def outline(case: Case, rng: Random) -> Outline:
    """The outline of one case."""
    knobs = read("telling")
    made = Outline(near_duplicate=rng.random() < knobs["near_duplicates"])
    if not made.near_duplicate and rng.random() < knobs["empty_narratives"]:
        made.empty = rng.choice(SOURCES)
    talk = rng.lognormvariate(0.0, knobs["wordiness"])  # a well-documented case is long in both sources
    for source, median in knobs["median_words"].items():
        made.words[source] = int(median * talk * rng.lognormvariate(0.0, knobs["wordiness"]))
    for variable in facts():
        if case.truth[variable]:
            tell_true(variable, case, made, rng)
        elif rng.random() < distraction(variable, made):
            place(Mention(variable, way_of(variable, "untold", case, rng)), made, rng)
    return made


def distraction(variable: str, made: Outline) -> float:
    """The chance that a case without the circumstance mentions it: grows with its rate and the length."""
    knobs = read("telling")
    rate = true_rate(read("rates")["binary"][variable])
    length = sum(made.words.values()) / sum(knobs["median_words"].values())
    return min(0.85, (knobs["distraction"] * rate + 0.02) * min(2.5, length**0.5))


def tell_true(variable: str, case: Case, made: Outline, rng: Random) -> None:
    """Mention a true fact once or more, unless another fact that is told implies it."""
    knobs = read("telling")
    carried = any(case.truth[carrier] for carrier in knobs["carried_by"].get(variable, []))
    times = 0 if carried and rng.random() < knobs["carried"] else 1
    again = knobs["told_again"] * (0.5 if made.near_duplicate or made.empty else 1.0)  # one text holds it all
    while times and times < 4 and rng.random() < again:
        times += 1
    for _ in range(times):
        place(Mention(variable, true_way(variable, case, rng)), made, rng)
    if times and rng.random() < knobs["contradicted"]:
        place(Mention(variable, way_of(variable, "untold", case, rng)), made, rng)


def true_way(variable: str, case: Case, rng: Random) -> str:
    """A way to tell a true fact; some wordings occur in the test part only."""
    if case.in_test and "test_only" in facts()[variable] and rng.random() < read("telling")["test_only"]:
        return "test_only"
    return way_of(variable, "told", case, rng)


def way_of(variable: str, kind: str, case: Case, rng: Random) -> str:
    """One of the `told` or `untold` ways for which the variable has a phrase that suits the case."""
    weights = read("telling")[kind]
    possible = [way for way in weights if sayable(variable, way, case)]
    return rng.choices(possible, [weights[way] for way in possible])[0]


def sayable(variable: str, way: str, case: Case) -> list[Phrase]:
    """The phrases for mentioning the variable this way that are true of the case."""
    phrases = facts()[variable].get(GROUP.get(way, way), [])
    return [p for p in phrases if p.needs is None or case.truth[p.needs]]


def place(mention: Mention, made: Outline, rng: Random) -> None:
    """Put a mention into one source or both; a near-duplicate copies the first, an empty one has none."""
    if made.near_duplicate or made.empty:
        sources = [source for source in SOURCES if source != made.empty][:1]
    else:
        shares = read("telling")["in_each_source"]
        sources = [s for s in SOURCES if rng.random() < shares[s]] or [rng.choice(SOURCES)]
    for source in sources:
        made.mentions[source].append(mention)
