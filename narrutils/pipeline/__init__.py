"""Running the notebooks in sequence."""
