"""Settings of a stage found by trials on inner folds, and what the search is honestly worth."""
