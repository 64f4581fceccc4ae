"""narrutils: notebooks that code variables from pairs of death-investigation narratives.

Where to look, in the order in which a run needs it:

- The task: `schema`, `metrics`, `intervals`, `folds`, `errors`, `paths`.
- Files: `artifacts` (the run folder), `files` and `tables`; `sheets` and `data` (CSV), `incoming` (CSV,
  streamed).
- Running: `cli`, `profiles`, `parameters`, `preflight`, `runner`, `stages`, `provenance`,
  `redaction`, `cycle`, `doctor` and `machine`, `hub`, `packaged` and `gguf_files`; `precision`,
  `speed`, `estimates`.
- Texts: `text`, `repair`, `sentences`, `describe`, `overlap`, `domain`.
- Generation: `pools`, `conditioning`, `prompts`, `answers`, `generation`, `backends` with
  `vllm_backend`, `transformers_backend` and `nucleus`, `indomain`; `requested`.
- Screening: `screening`, `screening_rules`, `reference`, `agreement`.
- Label correction: `relabel`, `author_rule`, `confident`, `noise`, `noisy_logistic`, `changes`, `review`.
- Cheap models: `baseline`, `companions`, `frozen` with `probe`.
- Neural models: `backbones`, `attention`, `classifier`, `lower`, `inputs`, `mlm`; `training`, `recipe`,
  `trainer`, `examples`, `batches`, `curriculum`, `reading`, `progress`, `swap`, `averaging`,
  `divergence`; `losses`, `f1_loss`, `lovasz`; `distributed`, `launching`, `worker`; `side_by_side`.
- Over the folds: `crossfit`, `pseudo`, `rounds`, `stored`, `teachers`.
- Deciding: `calibration`, `thresholds`, `ensemble`, `stacking`, `gains`, `ladder`, `reliability`, `flags`.
- New narratives: `scoring`, `predict`, `bundle`.
- Reading the results: `plots`, `show`, `explore` and `casebook`, `evidence`, `doubts` and `rankings`,
  `report` with `pages`, `clean`, `render`, `charts`, `overview`, `sections`, `ladder_view`,
  `published` and `review_page`.
"""

import warnings

# tqdm asks for ipywidgets in every notebook; its plain text bar is what we want.
warnings.filterwarnings("ignore", message="IProgress not found")
