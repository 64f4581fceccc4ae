"""Linear members, as scikit-learn alone reads them and together: rows a second, memory, equal codes.

    OMP_NUM_THREADS=1 python -m benchmarks.terms [outputs/demo] [--texts FEATURES.csv] [--rows 1024]
    OMP_NUM_THREADS=1 python -m benchmarks.terms [outputs/demo] --memory 10000 1000000

All fold models of the run's linear members read distinct made texts, of several seeds: as long as
the demo's, and put together to 235 and to 1,024 words; with `--texts` also those of a features file,
whose text columns are read as one narrative. `alone` makes a TfidfVectorizer for each model and
call; `together` is `TfidfModel.predict_together`, over pieces of 1,024 rows. `first` is its first
pass over these texts with nothing remembered, `again` the next one. Rates are rows a second of
processor time in one thread, so that what runs beside it counts little. `largest difference` is
that of any probability, `codes differ` a number of codes at one half. `words` is a row's mean.

With `--memory` so many distinct rows are read, each number in a process of its own: rows a second
of processor time with the making of the texts left out, the process's peak resident memory, and how
often it forgot its pieces.
"""

import argparse
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

from narrutils.crossfit.deployed import SCHEMA
from narrutils.data.cases import embedded_data, load_data
from narrutils.data.files import read_json
from narrutils.data.schema import Schema
from narrutils.models import tfidf
from narrutils.models.term_heads import join
from narrutils.models.tfidf import LINEAR, TfidfModel

from .demo_corpus import show
from .predict import Sampled

PIECE = 1024
SEEDS = (101, 102, 103)
