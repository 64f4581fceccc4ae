"""Loading a frozen base in 8 bits: what reaches the loader. No GPU is at hand, so nothing is loaded."""

import pytest
import torch
from transformers import AutoModel, BitsAndBytesConfig

from narrutils.errors import InputError
from narrutils.models import backbones
from narrutils.models.backbones import load_body, resolve
from narrutils.models.classifier import build
from narrutils.models.settings import Body, Lora


@pytest.fixture
def asked(monkeypatch):
    """Keyword arguments of the last load; the model comes unquantised."""
    load, seen = AutoModel.from_pretrained, {}

    def loader(*args, **kwargs):
        seen.clear()
        seen.update(kwargs)
        return load(*args, **{k: v for k, v in kwargs.items() if k != "quantization_config"})

    monkeypatch.setattr(AutoModel, "from_pretrained", loader)
    return seen


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU and bitsandbytes, as far as the check can tell."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(backbones.util, "find_spec", lambda name: name)


def test_eight_bits_reach_the_loader(tiny_gemma_folder, asked, gpu):
    build(Body(tiny_gemma_folder, quantization="8bit", precision="bfloat16"), Lora(2, 4), 3, 0.0, True)
    config = asked["quantization_config"]
    assert isinstance(config, BitsAndBytesConfig) and config.load_in_8bit and not config.load_in_4bit
    assert asked["dtype"] is torch.bfloat16


def test_without_quantisation_the_loader_is_told_nothing_of_it(tiny_gemma_folder, asked):
    load_body(resolve(tiny_gemma_folder), torch.float32)
    assert "quantization_config" not in asked


def test_without_a_gpu_or_the_package_it_is_one_line(tiny_gemma_folder, monkeypatch):
    body = Body(tiny_gemma_folder, quantization="8bit")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="needs a CUDA GPU.*leave quantization out"):
        build(body, Lora(2, 4), 3, 0.0, False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(backbones.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install bitsandbytes"):
        build(body, Lora(2, 4), 3, 0.0, False)
