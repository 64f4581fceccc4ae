"""Terms of texts for linear models: their counts, and heads that read them together."""
