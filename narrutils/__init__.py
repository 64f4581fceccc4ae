"""narrutils: notebooks that code variables from pairs of death-investigation narratives.

Nine rooms, each of which imports only from those before it:
`data` · `evaluation`, `models` · `training`, `generation` · `crossfit` · `labels` · `report` ·
`pipeline`. Above them stand the commands: `cli`, `predict`, `bundle`. See docs/architecture.md.
"""

import contextlib
import ctypes
import gc
import sys
import warnings

# What imports make stays. Looking for garbage among it after every 700 objects takes a tenth of them.
gc.set_threshold(10_000)

# A batch needs the memory that the one before it freed. glibc would give that back to the system, and where
# fresh memory is slow to touch a tenth of a training goes into fetching it again. It keeps up to 1 GB.
if sys.platform == "linux":
    with contextlib.suppress(AttributeError):  # another C library
        _libc = ctypes.CDLL(None)
        _libc.mallopt(-1, 2**30)  # M_TRIM_THRESHOLD
        _libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, as high as glibc itself would set it by and by

# tqdm asks for ipywidgets in every notebook; its plain text bar is what we want.
warnings.filterwarnings("ignore", message="IProgress not found")
