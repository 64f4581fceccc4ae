"""What the made corpus is like, and how hard it is to read.

    python benchmarks/demo_corpus.py [--cases 5000] [--seed 0] [--minilm]

Prints the scores on the noisy test labels of TF-IDF with logistic regression, of
MiniLM if asked, and of the planted truth, what the text is like, and how far the rates of the given
labels are from the published ones.
"""

import argparse
import re
import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd

from narrutils.crossfit.phases import official_phase
from narrutils.data.cases import Dataset, load_data
from narrutils.data.demo import write_demo_data
from narrutils.data.demo.cases import PUBLISHED_CASES
from narrutils.data.demo.phrases import read
from narrutils.data.folds import draw_folds, singles
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.schema import Schema
from narrutils.evaluation.metrics import per_variable
from narrutils.evaluation.thresholds import search
from narrutils.models.learner import Learner
from narrutils.models.precision import fastest
from narrutils.models.settings import Body
from narrutils.models.tfidf import TfidfLearner
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe

FOLDS = 4
EPOCHS = 5  # of MiniLM; TF-IDF knows none
RECIPE = Recipe(
    max_tokens=256,
    learning_rate=2e-4,
    head_learning_rate=2e-3,
    batch_size=8,
    smoothing=0.02,
    precision=fastest(),
    seed=0,
)


def main() -> None:
    """Make a corpus in a temporary folder and print what is measured on it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minilm", action="store_true", help="train MiniLM too: an hour at 5000 cases")
    given = parser.parse_args()
    schema = load_schema("params/schemas/nvdrs.yaml")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_demo_data(Path(folder), given.cases, given.seed)
        seconds = time.perf_counter() - start
        data = load_data(folder, schema)
    print(f"corpus of {given.cases} cases, seed {given.seed}, made in {seconds:.1f} s\n")
    show("text", pd.Series(texture(pd.concat([data.train, data.test])[schema.text_columns])))
    learners = {"tfidf": TfidfLearner(schema)}
    if given.minilm:
        learners["minilm"] = NeuralLearner(schema, Body("minilm", dropout=0.0), recipe=RECIPE)
    variables = by_variable(schema, data, learners)
    show("each variable", variables)
    show("average F1 on the noisy test labels", variables[[*learners, "truth"]].mean())


def by_variable(schema: Schema, data: Dataset, learners: dict[str, Learner]) -> pd.DataFrame:
    """Published and given rate, and the scores of each learner and of the truth, one row a variable."""
    counts = {name: entry["positives"] for name, entry in read("rates")["binary"].items()}
    table = pd.DataFrame(index=schema.names)
    table["published"] = pd.Series(counts) / PUBLISHED_CASES
    table["given"] = data.train[[v.name for v in schema.binary]].astype(int).mean()
    table["gap"] = (table["given"] - table["published"]).abs()
    for name, learner in learners.items():
        table[name] = per_variable(schema, data.test, on_test(learner, schema, data))
    table["truth"] = per_variable(schema, data.test, data.truth.loc[data.test.index])
    print(f"largest gap to a published rate: {100 * table['gap'].max():.1f} points\n")
    return table


def on_test(learner: Learner, schema: Schema, data: Dataset) -> pd.DataFrame:
    """Codes of the test cases: the mean of the fold models, thresholds from out-of-fold probabilities."""
    texts = data.train[schema.text_columns]
    targets, folds = schema.to_targets(data.train), draw_folds(schema, data.train, FOLDS, seed=0)
    out_of_fold, test = [], []
    for held_out in singles(folds):
        model = learner.fit([official_phase(texts, targets, folds, held_out, EPOCHS)], f"without {held_out}")
        out_of_fold.append(model.predict(texts[folds.isin(held_out)]))
        test.append(model.predict(data.test[schema.text_columns]))
    return schema.to_labels(sum(test) / FOLDS, search(schema, data.train, pd.concat(out_of_fold)))


def texture(texts: pd.DataFrame) -> dict[str, float]:
    """Lengths, empty narratives, near-duplicates, and sentences that occur in one case only."""
    words = texts.map(lambda text: len(text.split()))
    figures = {}
    for column in texts:
        figures[f"{column}, median words"] = words[column].median()
        figures[f"{column}, most words"] = words[column].max()
        figures[f"{column}, share over 600 words"] = (words[column] > 600).mean()
        figures[f"{column}, share empty"] = (words[column] == 0).mean()
    figures["share of near-duplicates"] = near_duplicates(texts)
    figures["share of sentences in one case only"] = said_once(texts)
    return figures


def near_duplicates(texts: pd.DataFrame) -> float:
    """Share of cases whose two narratives have most of their three-word runs in common."""
    return float(texts.apply(lambda row: overlap(*row) > 0.6, axis=1).mean())


def overlap(one: str, other: str) -> float:
    """Jaccard similarity of the three-word runs of two texts, in [0, 1]."""
    runs = []
    for text in (one, other):
        words = re.findall(r"\w+", text.lower())
        runs.append(set(zip(words, words[1:], words[2:], strict=False)))
    return len(runs[0] & runs[1]) / max(len(runs[0] | runs[1]), 1)


def said_once(texts: pd.DataFrame) -> float:
    """Share of distinct sentences that occur in one case only."""
    cases = Counter()
    for row in texts.itertuples(index=False):
        cases.update({s for text in row for s in sentences(text)})
    return sum(n == 1 for n in cases.values()) / len(cases)


def sentences(text: str) -> list[str]:
    """The sentences of a narrative, whether or not a space follows the full stop."""
    return [s.strip() for s in re.split(r"(?<=[a-z0-9X)])\.\s*(?=[A-Z]|$)", text) if s.strip()]


def show(title: str, table: pd.Series | pd.DataFrame) -> None:
    print(f"{title}\n{table.round(3).to_string()}\n")


if __name__ == "__main__":
    main()
