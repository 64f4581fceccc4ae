"""Labels that may be wrong: correction, the review queue."""
