"""One model a fold, and what the folds teach each other."""
