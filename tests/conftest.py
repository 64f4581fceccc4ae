"""Fixtures of several test modules. Nothing here uses the network."""

import os

import pytest

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def nvdrs():
    from narrutils.schema import load_schema

    return load_schema("params/schemas/nvdrs.yaml")


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """Folder of a tiny random encoder with its tokenizer."""
    import toys

    return toys.save_tiny_bert(tmp_path_factory.mktemp("bert") / "tiny-bert")


@pytest.fixture(scope="session")
def tiny_gemma_folder(tmp_path_factory):
    """Folder of a tiny random causal model with its tokenizer."""
    import toys

    return toys.save_tiny_gemma(tmp_path_factory.mktemp("gemma") / "tiny-gemma")
