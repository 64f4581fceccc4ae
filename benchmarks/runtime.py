"""Does a bundle run in the competition's public runtime, and with the codes that `predict` gives here?

    python3.10 -m venv runtime
    runtime/bin/pip install numpy==1.26.4 pandas==2.2.2 scikit-learn==1.5.1 scipy==1.14.1 pyarrow==17.0.0 \\
        pydantic==2.8.2 psutil==6.0.0 filelock==3.15.4 pyyaml==6.0.2 safetensors==0.4.4 tqdm==4.66.5 \\
        transformers==4.44.2 torch==2.1.2
    python -m benchmarks.runtime outputs/linear new.csv runtime/bin/python

The versions are those of its lock file. Prints what that Python said, and whether the codes are equal.
"""

import argparse
import subprocess
import zipfile
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory

from narrutils.bundle import RUNTIME, bundle
from narrutils.data.outputs import Outputs
from narrutils.predict import predict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument("features", type=Path, help="cases to code")
    parser.add_argument("python", type=Path, help="the Python of such an environment")
    given = parser.parse_args()
    python = given.python.absolute()
    with TemporaryDirectory() as scratch:
        room = Path(scratch)
        print(*bundle(given.run, room / "submission.zip"), sep="\n")
        with zipfile.ZipFile(room / "submission.zip") as archive:
            archive.extractall(room)
        (room / "data").mkdir()
        copy(given.features, room / "data" / "test_features.csv")
        done = subprocess.run([python, "main.py"], cwd=room, capture_output=True, text=True)
        print(done.stdout, done.stderr.splitlines()[-1] if done.returncode else "", sep="")
        predict(given.run, given.features, Outputs(room / "here.csv"), progress=False)
        made = room / "submission.csv"
        equal = made.exists() and made.read_bytes() == (room / "here.csv").read_bytes()
    print(f"{RUNTIME}: exit code {done.returncode}, codes {'equal' if equal else 'not equal'}")


if __name__ == "__main__":
    main()
