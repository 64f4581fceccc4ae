"""Codes the cases of data/test_features.csv, in the order of data/submission_format.csv if that is there.

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

from narrutils.errors import InputError  # noqa: E402
from narrutils.predict import predict_format  # noqa: E402

DATA = Path("data")

if __name__ == "__main__":
    try:
        predict_format(
            run=HERE / "run",
            features=DATA / "test_features.csv",
            submission_format=DATA / "submission_format.csv",
            out=Path("submission.csv"),
        )
    except InputError as error:
        sys.exit(f"main.py: {error}")
    except ImportError as error:
        sys.exit(f"main.py: {error}; the models in run/ need the packages of requirements.txt")
