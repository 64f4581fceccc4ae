"""Reading with all folds of a member at once, against one fold after the other.

    python -m benchmarks.together [--run outputs/demo] [--rows 2000] [--precision float32]

`old` loads each fold's model by itself and reads with it all layers of each text; `new` is
`load_models` and `predict_together`, as `predict` reads. Both read the same made texts in one
run, in turn, a piece at a time, and what else the machine does falls on both. Loading is timed
apart, best of two, with the files in memory.

A line a member that reads with torch: folds K, layers L and the cut, below which layers are
shared; seconds of reading and loading, and `ratio`, old over new, of seconds and, on a machine
with other work, of the processor's seconds; `possible`, the ratio K·L / (cut + K·(L − cut)) of the
layers that are computed; `reached`, the share of it by processor seconds; `most`, the
largest difference between probabilities of a fold; `codes`, how many codes of the member's mean
differ, which are listed with how far the old probability lies from where the code turns.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from narrutils.crossfit.deployed import Deployed
from narrutils.crossfit.stored import free, kind, load_model, load_models
from narrutils.data.cases import embedded_data, load_data
from narrutils.data.schema import Schema
from narrutils.models.backbones import layer_lists
from narrutils.models.frozen import FrozenModel
from narrutils.models.learner import Model
from narrutils.models.reading import read_logits

from .demo_corpus import show

#: Rows of a piece, which the old and the new way read in turn; one block of `read_logits` at most.
PIECE = 50


def old(models: list[Model], texts: pd.DataFrame) -> list[pd.DataFrame]:
    """What each model reads with all of its own layers, one model after the other."""
    return [_whole(model, texts) for model in models]


def _whole(model: Model, texts: pd.DataFrame) -> pd.DataFrame:
    if isinstance(model, FrozenModel):
        return model.predict(texts)
    logits = read_logits(model.classifier, model.tokenizer, texts, model.reading)
    return model.schema.from_logits(logits, texts.index)


def new(models: list[Model], texts: pd.DataFrame) -> list[pd.DataFrame]:
    """What they read together."""
    return type(models[0]).predict_together(models, texts)


def measure(folders: list[Path], schema: Schema, texts: pd.DataFrame, precision: str) -> tuple[dict, list]:
    """The line of a member, and each fold's probabilities by the old and by the new way."""
    alone = lambda: [load_model(folder, schema, precision) for folder in folders]  # noqa: E731
    loading = [best_of_two(load) for load in (alone, lambda: load_models(folders, schema, precision))]
    models = load_models(folders, schema, precision)
    for way in (old, new):  # what the first call prepares is not timed
        way(models, texts[:4])
    seconds, busy, found = [0.0, 0.0], [0.0, 0.0], [[], []]
    for number, start in enumerate(range(0, len(texts), PIECE)):
        for way in ((0, 1), (1, 0))[number % 2]:  # neither is always the first
            began = time.process_time()
            took, read = timed(lambda way=way, start=start: (old, new)[way](models, texts[start:][:PIECE]))
            seconds[way] += took
            busy[way] += time.process_time() - began
            found[way].append(read)
    tables = [[pd.concat(parts) for parts in zip(*pieces)] for pieces in found]
    most = max(float((a - b).abs().to_numpy().max()) for a, b in zip(*tables))
    layers, cut = depths(models[0])
    possible = len(models) * layers / (cut + len(models) * (layers - cut))
    ratio, cpu = seconds[0] / seconds[1], busy[0] / busy[1]
    told = {"K": len(models), "L": layers, "cut": cut, "old s": seconds[0], "new s": seconds[1]}
    told |= {"ratio": ratio, "cpu ratio": cpu, "possible": possible, "reached": cpu / possible}
    told |= {"old load s": loading[0], "new load s": loading[1], "load ratio": loading[0] / loading[1]}
    return told | {"most": f"{most:.1e}"}, tables


def depths(model: Model) -> tuple[int, int]:
    """How many layers a model has, and how many of them its folds share."""
    body = model.reader.body if isinstance(model, FrozenModel) else model.classifier.body
    layers = len(layer_lists(body)[0][2])
    return layers, layers if isinstance(model, FrozenModel) else model.classifier.cut


def best_of_two(load: Callable[[], object]) -> float:
    """The shorter of two loads in seconds; another one before them brings the files into memory."""
    times = []
    for _ in range(3):
        times.append(timed(load)[0])
        free()
    return min(times[1:])


def timed(call: Callable[[], object]) -> tuple[float, object]:
    began = time.perf_counter()
    found = call()
    return time.perf_counter() - began, found


def differing(schema: Schema, thresholds: dict, tables: list, member: str) -> list[str]:
    """A line for each code of a member's mean that differs."""
    means = [sum(parts) / len(parts) for parts in tables]
    codes = [schema.to_labels(mean, thresholds) for mean in means]
    lines = []
    for name in (codes[0] != codes[1]).stack().loc[lambda differs: differs].index:
        variable = next(v for v in schema.variables if v.name == name[1])
        values = np.sort(means[0].loc[name[0], list(variable.columns)].to_numpy())
        near = abs(values[0] - thresholds[name[1]]) if variable.is_binary else (values[-1] - values[-2]) / 2
        lines.append(f"{member}: {name[1]} of {name[0]}, {near:.1e} from where it turns")
    return lines


def made_texts(schema: Schema, rows: int) -> pd.DataFrame:
    """So many made cases of another seed than the demo's."""
    data = load_data(embedded_data(2 * rows, 7), schema)
    return data.train[schema.text_columns][:rows]


def main() -> None:
    """Print the table, and below it the codes that differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="outputs/demo")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--precision", default="float32", help="to read in; empty: that of the training")
    parser.add_argument("--members", nargs="*", help="unless given all that read with torch")
    given = parser.parse_args()
    deployed = replace(Deployed.open(given.run), precision=given.precision)
    schema, texts = deployed.schema, made_texts(deployed.schema, given.rows)
    named = deployed.members if given.members is None else given.members
    members = {name: deployed.siblings(name) for name in named}
    members = {n: f for n, f in members.items() if kind(f[0]) != "linear"}
    rows, told = {}, []
    for name, folders in members.items():
        rows[name], tables = measure(folders, schema, texts, given.precision)
        turned = differing(schema, deployed.made["thresholds"], tables, name)
        rows[name]["codes"], told = len(turned), [*told, *turned]
        show(name, pd.DataFrame({name: rows[name]}).T)
    threads = torch.get_num_threads()
    show(f"{len(texts)} rows, {given.precision or 'as trained'}, {threads} threads", pd.DataFrame(rows).T)
    print("\n".join(told))


if __name__ == "__main__":
    main()
