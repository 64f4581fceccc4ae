"""What a search is kept as, in `tuning/<stage>/` of its run."""

FOLDER = "tuning"
RECORD = "tuning.json"  # its presence says that the search came to its end
TRIALS = "trials.parquet"
