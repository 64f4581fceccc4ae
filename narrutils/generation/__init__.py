"""Cases written by language models, and their screening."""
