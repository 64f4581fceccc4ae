"""Each narrative read alone, and where two disagree."""
