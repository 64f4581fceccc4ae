"""Linear members, as scikit-learn reads them one by one and as they read together: speed, memory, codes.

    OMP_NUM_THREADS=1 python -m benchmarks.terms [outputs/demo] [--rows 1024] [--texts FEATURES.csv]
    OMP_NUM_THREADS=1 python -m benchmarks.terms [outputs/demo] --memory 10000 1000000

All fold models of the run's linear members read distinct made texts of several seeds: the demo's,
and their sentences drawn anew to 235 and to 1,024 words a row; with `--texts` also those of a
features file, all columns but `uid` in one. `one by one` makes a TfidfVectorizer for each model;
`first` is `TfidfModel.predict_together` where no piece of a text is remembered, `again` where all
are, in pieces of 1,024 rows. These are rows a second of the thread's own processor time, so that
what runs beside it counts little; `ratio` is first over one by one. `difference` is the largest of
any probability, `codes` how many differ, cut at one half.

With `--memory` so many distinct rows of 100 words are read, three words of each in no other, each
number in a process of its own. `ready MB` is what it held before the first row, `peak MB` at most.
"""

import argparse
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from sklearn.feature_extraction.text import TfidfVectorizer

from narrutils.data.cases import embedded_data, load_data
from narrutils.data.files import read_json
from narrutils.data.schema import Schema
from narrutils.models.terms.heads import join
from narrutils.models.tfidf import LINEAR, TfidfModel

from .demo_corpus import sentences, show
from .memory import alone

SEEDS, CASES = (101, 102, 103), 500
PIECE = 1024


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default="outputs/demo")
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--texts", type=Path, help="a features file to read as well")
    parser.add_argument("--memory", type=int, nargs="+", help="numbers of rows")
    given = parser.parse_args()
    schema = Schema.from_dict(read_json(Path(given.folder) / "schema.json"))
    if given.memory:
        lines = {rows: alone(remember, given.folder, schema, rows) for rows in sorted(given.memory)}
        return show("distinct rows, read together", pd.DataFrame(lines).T.round(1))
    made = made_texts(schema)
    tables = {"the demo's": made.head(given.rows)}
    tables |= {f"{n} words": next(drawn(made, n, given.rows)) for n in (235, 1024)}
    if given.texts:
        tables["real"] = pd.read_csv(given.texts, dtype=str).fillna("").drop(columns="uid").head(given.rows)
    lines = {name: compare(linear_models(given.folder, schema), texts) for name, texts in tables.items()}
    show(f"{len(linear_models(given.folder, schema))} linear models", pd.DataFrame(lines).T)


def linear_models(folder: str | Path, schema: Schema) -> list[TfidfModel]:
    """All fold models of the linear members, loaded anew."""
    paths = [path for name in LINEAR for path in sorted(Path(folder).glob(f"models/{name}/fold*"))]
    return [TfidfModel.load(path, schema) for path in paths]


def made_texts(schema: Schema) -> pd.DataFrame:
    """The text columns of made cases of several seeds, no two of them alike."""
    tables = [load_data(embedded_data(CASES, seed), schema).train[schema.text_columns] for seed in SEEDS]
    return pd.concat(tables, keys=SEEDS).drop_duplicates()


def drawn(made: pd.DataFrame, words: int, rows: int, own: int = 0, seed: int = 0) -> Iterator[pd.DataFrame]:
    """Pieces of rows of so many words, of made sentences, `own` of them in no other row."""
    rng, count = np.random.default_rng(seed), 0
    known = sorted({s for row in made.itertuples(index=False) for text in row for s in sentences(text)})
    while rows > 0:
        told = []
        for _ in range(min(rows, PIECE)):
            fresh = [f"w{count + n:x}" for n in range(own)]
            count += own
            told.append(" ".join([*fresh, *_words(known, words - own, rng)]))
        yield pd.DataFrame({"text": told})
        rows -= len(told)


def _words(known: list[str], wanted: int, rng: np.random.Generator) -> Iterator[str]:
    endless = iter(lambda: known[rng.integers(len(known))], None)
    return islice((word for sentence in endless for word in sentence.split()), wanted)


def compare(models: list[TfidfModel], texts: pd.DataFrame) -> dict[str, float]:
    """Both ways on the same texts."""
    TfidfModel.predict_together(models, texts.head(0))  # makes what reads with them
    first, (took, found) = timed(together, models, texts)[0], timed(together, models, texts)
    slow, right = timed(one_by_one, models, texts)
    pairs = [(a.to_numpy(), b.to_numpy()) for a, b in zip(found, right, strict=True)]
    codes = [m.schema.to_labels(a) != m.schema.to_labels(b) for m, a, b in zip(models, found, right)]
    return {
        "rows": len(texts),
        "words": np.mean([len(text.split()) for text in join(texts)]),
        "one by one": len(texts) / slow,
        "first": len(texts) / first,
        "again": len(texts) / took,
        "ratio": slow / first,
        "difference": max(np.abs(a - b).max() for a, b in pairs),
        "codes": sum(int(differ.to_numpy().sum()) for differ in codes),
    }


def timed(read, models: list[TfidfModel], texts: pd.DataFrame) -> tuple[float, list[pd.DataFrame]]:
    """Seconds of this thread's processor time, and what was read, a table a model."""
    start = time.thread_time()
    parts = [read(models, texts.iloc[n : n + PIECE]) for n in range(0, len(texts), PIECE)]
    return time.thread_time() - start, [pd.concat(tables) for tables in zip(*parts, strict=True)]


def together(models: list[TfidfModel], texts: pd.DataFrame) -> list[pd.DataFrame]:
    return TfidfModel.predict_together(models, texts)


def one_by_one(models: list[TfidfModel], texts: pd.DataFrame) -> list[pd.DataFrame]:
    return [by_scikit_learn(model, texts) for model in models]


def by_scikit_learn(model: TfidfModel, texts: pd.DataFrame) -> pd.DataFrame:
    """What a model with a vocabulary reads in a text or more, all of it by scikit-learn."""
    vectorizer = TfidfVectorizer(
        analyzer=model.analyzer, ngram_range=model.ngrams, sublinear_tf=True, vocabulary=model.vocabulary
    )
    vectorizer.idf_ = model.idf
    logits = vectorizer.transform(join(texts)) @ model.weights + model.bias
    return model.schema.from_logits(logits, texts.index)


def remember(folder: str, schema: Schema, rows: int) -> dict[str, float]:
    """Read so many distinct rows."""
    models, made, seconds = linear_models(folder, schema), made_texts(schema), 0.0
    with Sampled() as memory:
        for texts in drawn(made, 100, rows, own=3):
            start = time.thread_time()
            together(models, texts)
            seconds += time.thread_time() - start
    return {"rows a second": rows / seconds, "ready MB": memory.ready / 1e6, "peak MB": memory.peak / 1e6}


class Sampled:
    """Seconds, and this process's resident bytes at first and at most, while the block runs.

    The system's own record of the peak is no use here: a process inherits that of its parent.
    """

    def __enter__(self) -> "Sampled":
        self.process, self.stop = psutil.Process(), threading.Event()
        self.ready = self.peak = self.process.memory_info().rss
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.start = time.perf_counter()
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.seconds = time.perf_counter() - self.start
        self.stop.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.stop.wait(0.01):
            self.peak = max(self.peak, self.process.memory_info().rss)


if __name__ == "__main__":
    main()
