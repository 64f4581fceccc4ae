"""narrutils: notebooks that code variables from pairs of death-investigation narratives."""

import warnings

# tqdm asks for ipywidgets in every notebook; its plain text bar is what we want.
warnings.filterwarnings("ignore", message="IProgress not found")
