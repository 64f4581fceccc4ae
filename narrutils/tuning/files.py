"""What a search is kept as, in a folder of the run for each stage, such as `tuning/04_deberta/`."""

FOLDER = "tuning"
RECORD = "tuning.json"  # its presence says that the search came to its end
TRIALS = "trials.parquet"
