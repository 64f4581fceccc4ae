"""What the findings of a run look like, and the sentences after them."""
