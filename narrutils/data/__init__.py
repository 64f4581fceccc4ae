"""The task, its cases, the folds, and the run folder that all is kept in."""
