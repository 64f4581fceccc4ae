"""Codes the cases of data/test_features.csv in the order of data/submission_format.csv.

Everything it needs beside the packages of requirements.txt lies in this archive: the models in
run/, the code that reads them in narrutils/. They read in the precision of their run. The network
is not used.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # this archive's narrutils before any other
os.environ["HF_HUB_OFFLINE"] = "1"

from narrutils.predict import predict_format  # noqa: E402

if __name__ == "__main__":
    predict_format(
        run=HERE / "run",
        features=Path("data/test_features.csv"),
        submission_format=Path("data/submission_format.csv"),
        out=Path("submission.csv"),
    )
