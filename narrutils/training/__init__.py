"""How a neural model learns."""
