"""Prevalences, differences and ratios of machine and human codes."""
