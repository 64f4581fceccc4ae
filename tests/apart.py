"""A toy run of two narratives that tell or deny, each by itself: what `findings.sources` is tested on."""

import numpy as np
import pandas as pd
from toys import uids

from narrutils.data.intake.schema_file import parse_schema
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.study import Study
from narrutils.findings.settings import DENIALS
from narrutils.findings.sources.wording import deny

N, TEST = 240, 24
TOPICS = ("Rash", "Fall", "Burn", "Bite")
SAYS = ("V had a {}", "{} on the skin was seen", "a bad {} came up", "V told of a {}")
DENIES = ("no {}", "there was no {}", "mother denied any {}", "a {} was denied")
KIN = ("uncle had a {}", "a {} of the uncle")  # which is not told of V
PLACES = {1: "found at home", 2: "found in park"}
THINGS, TRAITS = (
    ("garden", "dog", "bicycle", "street", "shop", "kite", "river"),
    ("wet", "old", "near", "big", "loud"),
)
PLAIN = [f"{thing} looked {trait}" for thing in THINGS for trait in TRAITS]


def schema(*columns: str) -> Schema:
    return parse_schema(
        {
            "name": "apart",
            "text": [{"name": name} for name in columns],
            "variables": [
                *({"name": name} for name in TOPICS),
                {"name": "Place", "classes": {1: "home", 2: "park"}},
            ],
            "groups": ["site"],
        },
        "apart.yaml",
    )


def corpus(task: Schema, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Texts and labels of `N + TEST` cases, and what each narrative says, as `truth_by_source` has it."""
    rng, texts, labels, rows = np.random.default_rng(seed), [], [], []
    for uid in uids(N + TEST):
        place, told, true = int(rng.integers(1, 3)), {}, {v: rng.random() < 0.4 for v in TOPICS}
        for column in task.text_columns:
            sentences = [PLACES[place], *rng.choice(PLAIN, 8, replace=False)]
            for v, so in true.items():
                if rng.random() < (0.8 if so else 0.12):
                    sentences.append(rng.choice(SAYS if so else DENIES).format(v.lower()))
                    rows.append((uid, column, v, int(so)))
                elif not so and rng.random() < 0.1:
                    sentences.append(rng.choice(KIN).format(v.lower()))
            rows.append((uid, column, "Place", place))
            told[column] = ". ".join(rng.permutation(sentences)) + "."
        texts.append(told)
        labels.append({v: int(so) for v, so in true.items()} | {"Place": place})
    index = uids(N + TEST)
    planted = pd.DataFrame(rows, columns=["uid", "source", "variable", "said"])
    return pd.DataFrame(texts, index), pd.DataFrame(labels, index), planted


def made_run(folder, columns=("First", "Second"), change=lambda texts, labels: (texts, labels)) -> Study:
    """The run of such a corpus, without a model, once `change` has had its way with it."""
    task = schema(*columns)
    texts, labels, planted = corpus(task)
    texts, labels = change(texts, labels.astype("Int64"))
    split = np.where(np.arange(N + TEST) < N, "train", "test")
    run = Run(folder, "06_test")
    run.write("schema.json", task.to_dict())
    run.write("cases.parquet", texts.join(labels).assign(split=split))
    run.write("truth_by_source.parquet", planted)
    run.write(
        "groups.parquet",
        pd.DataFrame({"site": np.where(np.arange(N + TEST) < 5, "few", "many")}, texts.index),
    )
    folds = pd.DataFrame({"uid": texts.index[:N], "fold": np.arange(N) % 3})
    run.write("folds.parquet", folds)
    return Study.open(run)


class Hearing:
    """A teacher that hears the topics of a narrative; whether they are denied only if it `listens`."""

    def __init__(self, task: Schema, listens: bool = False):
        self.task, self.listens = task, listens

    def read(self, fold: int, texts: pd.DataFrame) -> pd.DataFrame:
        told = texts[self.task.text_columns].agg(". ".join, axis=1).str.lower()
        logits = {v: [self._topic(text, v.lower()) for text in told] for v in TOPICS}
        logits |= {
            f"Place_{code}": 3.0 * told.str.contains(words, regex=False) for code, words in PLACES.items()
        }
        return self.task.from_logits(
            pd.DataFrame(logits, texts.index)[self.task.columns].to_numpy(), texts.index
        )

    def _topic(self, text: str, topic: str) -> float:
        denies = [
            part for part in text.split(".") if topic in part.split() and deny([part.split()], DENIALS)[0]
        ]
        asserts = [part for part in text.split(".") if topic in part.split() and part not in denies]
        return 3.0 * len(asserts) + (-2.0 if self.listens else 3.2) * len(denies) - 1.0
