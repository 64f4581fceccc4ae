"""The page of a search for better settings: what was tried, and what the best is worth."""
