"""narrutils: notebooks that code variables from pairs of death-investigation narratives.

Nine rooms, each of which imports only from those before it:
`data` · `evaluation`, `models` · `training`, `generation` · `crossfit` · `labels` · `report` ·
`pipeline`. Above them stand the commands: `cli`, `predict`, `bundle`. See docs/architecture.md.
"""

import gc
import warnings

# What imports make stays. Looking for garbage among it after every 700 objects takes a tenth of them.
gc.set_threshold(10_000)

# tqdm asks for ipywidgets in every notebook; its plain text bar is what we want.
warnings.filterwarnings("ignore", message="IProgress not found")
