"""The made corpus: invented cases with a planted truth, in the competition's files."""

from narrutils.data.demo.corpus import write_demo_data

__all__ = ["write_demo_data"]
