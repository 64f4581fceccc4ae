"""From probabilities to codes, scores, intervals and the ladder."""
