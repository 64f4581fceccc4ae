"""The stored chunks of a pool, and the bar that shows how many of its rows are made."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from narrutils.data.files import digest
from narrutils.data.tables import read_table
from narrutils.errors import InputError

FORM = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total} rows [{elapsed}<{remaining}{postfix}]"


class Chunks:
    """Ranges of row numbers with fixed boundaries, each a file once it is made.

    Chunks of another key, left by an earlier configuration, are removed.
    """

    def __init__(self, folder: Path, key: str, rows: int, size: int):
        self.folder, self.key, self.rows, self.size = folder, key, rows, size
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for stale in set(folder.iterdir()) - {self.path(chunk) for chunk in range(len(self))}:
            stale.unlink()

    def __len__(self) -> int:
        return -(-self.rows // self.size)

    def numbers(self, chunk: int) -> range:
        """The rows of a chunk."""
        return range(chunk * self.size, min((chunk + 1) * self.size, self.rows))

    def path(self, chunk: int) -> Path:
        rows = self.numbers(chunk)
        return self.folder / f"chunk{chunk:05d}-{digest(self.key, [rows.start, rows.stop])}.parquet"

    def missing(self) -> list[int]:
        """Those that are not made yet."""
        return [chunk for chunk in range(len(self)) if not self.path(chunk).exists()]

    def in_order(self, made: Iterator[tuple[int, int]], bar: "Bar") -> Iterator[pd.DataFrame]:
        """Every chunk, as soon as it and those before it are there.

        Args:
            made: numbers of chunks and their tokens, as they are made, in any order.

        Raises:
            InputError: one that was made is not there.
        """
        for chunk in range(len(self)):
            while not self.path(chunk).exists():
                done = next(made, None)
                if done is None:
                    raise InputError(
                        f"{self.path(chunk)}: was made elsewhere; workers must see the run folder"
                    )
                bar.made(*done)
            yield read_table(self.path(chunk))
        for done in made:
            bar.made(*done)


class Bar(AbstractContextManager):
    """Shows rows that are made, tokens a second and the time left.

    Args:
        missing: the chunks that are still to be made.
    """

    def __init__(self, chunks: Chunks, missing: list[int]):
        self.chunks, self.tokens = chunks, 0
        self.rows = chunks.rows - sum(len(chunks.numbers(chunk)) for chunk in missing)
        about = {"bar_format": FORM, "mininterval": 1, "miniters": 0}
        name = chunks.folder.name.removeprefix(".")
        self.bar = tqdm(total=chunks.rows, initial=self.rows, desc=name, **about)

    def __exit__(self, *_) -> None:
        self.bar.close()

    def during(self, chunk: int) -> Callable[[float, int], None]:
        """What a backend calls while it writes a chunk: see `Backend.watch`."""
        rows = len(self.chunks.numbers(chunk))
        return lambda share, tokens: self._show(self.rows + share * rows, self.tokens + tokens)

    def made(self, chunk: int, tokens: int) -> None:
        """A chunk was made."""
        self.rows += len(self.chunks.numbers(chunk))
        self.tokens += tokens
        self._show(self.rows, self.tokens)

    def _show(self, rows: float, tokens: int) -> None:
        """Move the bar to so many rows; so many tokens were written since it began."""
        speed = tokens / max(self.bar.format_dict["elapsed"], 1e-9)
        self.bar.set_postfix_str(f"{speed:.0f} tokens/s", refresh=False)  # shown with the next update
        self.bar.update(rows - self.bar.n)
