"""The sentence after promises, and after what new narratives are held against."""

from collections.abc import Mapping

import numpy as np
from IPython.display import Markdown

from narrutils.report.say import counted, names_of
from narrutils.report.tables import percent

OF = {
    "recall": "of the positives that go out unreviewed at least {share} are found",
    "precision": "of the codes 1 that go out unreviewed at least {share} are right",
}
BASES = {
    "exact": "tested on cases that nothing consulted",
    "approximate": "approximate, since the cases that tested them also fitted weights, and one fold's model "
    "reads otherwise than the deployed mean",
}


def promised(made: Mapping) -> Markdown:
    """What `promises.learn` gave: how many promises stand, what they cost, and why others do not."""
    variables, level = made["variables"], percent(made["confidence"])
    kept = {name: p for name, p in variables.items() if p["outcome"] == "promised"}
    said = [f"No promise stands for any of {counted(len(variables), 'variable')}"]
    if kept:
        of = OF[made["promise"]].format(share=percent(made["promised"]))
        others = ", of a variable with classes as many of all codes right"
        said = [
            f"For {len(kept)} of {counted(len(variables), 'variable')}: {of}, each with {level} confidence"
        ]
        said[0] += others if any(p["kind"] == "accuracy" for p in kept.values()) else ""
        shares = [p["reviewed"] for p in kept.values()]
        prices = f"{percent(np.median(shares))} in the median, {percent(max(shares))} at most"
        said.append(f"Of the codes of each, a person decides {prices}")
    for basis, why in BASES.items():
        names = [name for name, p in kept.items() if p["basis"] == basis]
        said += [f"{len(names)} of them {why}"] if names else []
    few = [name for name, p in variables.items() if p["outcome"] == "too few"]
    said += [f"Too few cases to promise anything, below {made['needed']}: {names_of(few)}"] if few else []
    lost = [name for name, p in variables.items() if p["outcome"] == "not reached"]
    most = percent(made["promise_review"])
    said += [f"Not reached with {most} of the codes reviewed: {names_of(lost)}"] if lost else []
    return Markdown(". ".join(said) + ".")


def held_against(kept: Mapping) -> Markdown:
    """Which cases new narratives are held against, from `reference.reference`."""
    if not kept:
        return Markdown(
            "There are too few cases to hold new narratives against, so `predict` gives no alarm."
        )
    cases = counted(kept["cases"], f"{'test' if kept['of'] == 'test' else 'training'} case")
    by = "" if kept["of"] == "test" else ", by their texts alone"
    numbers = counted(len(kept["numbers"]), "number")
    return Markdown(f"`predict` holds new narratives against {cases}{by}: {numbers} of each.")
