"""Making of an encoder an ONNX file: torch traces it, adapters merged, and ONNX Runtime rounds its weights.

The same model gives the same bytes, in which there is neither a path nor a line of code.
"""

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from peft import PeftModel
from torch import Tensor, nn

from narrutils.data.files import atomic, write_json
from narrutils.errors import InputError
from narrutils.models.backbones import is_encoder, quiet
from narrutils.models.classifier import Classifier
from narrutils.models.exported.reading import GRAPH, SETTINGS, SPECIAL, WORDS
from narrutils.models.reading import NeuralModel
from narrutils.models.settings import Reading

#: A protobuf holds no more; weights beside it would be a second file.
LARGEST = 2**31 - 1
#: What is rounded to 8 bits: products with weights, and tables of embeddings. The head stays as it is.
ROUNDED = ["MatMul", "Gather"]


def export(model: NeuralModel, folder: Path, name: str) -> None:
    """Write a model that reads in float32 as `OnnxModel.load` reads it.

    Args:
        name: what an error calls it.

    Raises:
        InputError: it is no encoder, it has no tokenizer file, or torch cannot translate it.
    """
    classifier = merged(model.classifier, name)
    words = getattr(model.tokenizer, "backend_tokenizer", None)
    if words is None:
        raise InputError(f"{name}: its tokenizer has no tokenizer.json, without which it cannot be exported")
    folder.mkdir(parents=True, exist_ok=True)
    _save(_traced(classifier, name), folder / GRAPH, name)
    with atomic(folder / WORDS) as part:
        part.write_text(_plain_words(words), encoding="utf-8")
    special = {each: getattr(model.tokenizer, each) for each in SPECIAL}
    reading = {f.name: getattr(model.reading, f.name) for f in fields(Reading)} | {"precision": "float32"}
    write_json(folder / SETTINGS, {"weights": "float32", "reading": reading, "special": special})


def merged(classifier: Classifier, name: str) -> Classifier:
    """The classifier on the CPU, its adapters added to the weights that they stand on.

    Raises:
        InputError: it is no encoder, or is quantised already.
    """
    if not is_encoder(classifier.body.config):
        raise InputError(f"{name}: reads with a causal language model; only encoders are exported to ONNX")
    if getattr(classifier.body.config, "quantization_config", None):
        raise InputError(f"{name}: its base is loaded in 8 bits, and such a one is not exported to ONNX")
    classifier = copy.deepcopy(classifier).cpu().eval()
    if isinstance(classifier.body, PeftModel):
        classifier.body = classifier.body.merge_and_unload()
    return classifier


class _Graph(nn.Module):
    """What is translated: token ids of rows to their logits."""

    def __init__(self, classifier: Classifier):
        super().__init__()
        self.classifier = classifier

    def forward(self, input_ids: Tensor, attention_mask: Tensor, parts: Tensor | None = None) -> Tensor:
        return self.classifier(input_ids=input_ids, attention_mask=attention_mask, parts=parts)


def _traced(classifier: Classifier, name: str):
    """The graph of a classifier, for any number of rows and tokens."""
    rows, tokens = 3, 5  # any but 0 and 1, for which torch translates otherwise
    given = {"input_ids": torch.ones(rows, tokens, dtype=torch.long)}
    given["attention_mask"] = torch.ones(rows, tokens, dtype=torch.long)
    shapes: dict[str, dict] = {each: {0: "rows", 1: "tokens"} for each in given}
    if classifier.pooling == "parts":
        given["parts"] = torch.ones(rows, classifier.narratives, tokens, dtype=torch.long)
        shapes["parts"] = {0: "rows", 2: "tokens"}
    try:
        with _silent(), torch.no_grad():
            program = torch.onnx.export(
                _Graph(classifier),
                (),
                kwargs=given,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=list(given),
                output_names=["logits"],
                verbose=False,
            )
    except Exception as error:
        kind = classifier.body.config.model_type
        raise InputError(
            f"{name}: torch cannot translate {kind} to ONNX ({type(error).__name__}); bundle without --onnx"
        ) from error
    return program.model_proto


def _save(graph, path: Path, name: str) -> None:
    """Write a graph without what it tells of the code that it was made of."""
    if graph.ByteSize() > LARGEST:
        raise InputError(f"{name}: has more than 2 GB of weights, which one ONNX file cannot hold")
    _strip(graph)
    with atomic(path) as part:
        part.write_bytes(graph.SerializeToString(deterministic=True))


def _strip(graph) -> None:
    body = graph.graph
    values = (body.node, body.value_info, body.input, body.output, body.initializer)
    for part in (graph, body, *(part for parts in values for part in parts)):
        for field in ("metadata_props", "doc_string"):
            part.ClearField(field)


def _plain_words(words) -> str:
    """A tokenizer's file, its truncation and padding left out: texts are framed by `models.text`."""
    return json.dumps(json.loads(words.to_str()) | {"truncation": None, "padding": None}, ensure_ascii=False)


def quantise(folder: Path) -> None:
    """Round the weights of an exported model to 8 bits, in place.

    7 of them are used (`reduce_range`): a processor without VNNI adds products in 16 bits, which
    8 by 8 would overflow.
    """
    with TemporaryDirectory() as room, _silent():
        ready, rounded = Path(room) / "ready.onnx", Path(room) / "rounded.onnx"
        quant_pre_process(str(folder / GRAPH), str(ready), skip_symbolic_shape=True)
        quantize_dynamic(
            ready,
            rounded,
            ROUNDED,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[f"{head}_MatMul" for head in _heads(onnx.load(str(ready)))],
        )
        _save(onnx.load(str(rounded)), folder / GRAPH, folder.name)
    described = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    write_json(folder / SETTINGS, described | {"weights": "int8"})


def _heads(graph) -> list[str]:
    """Names of the products of pooled states; as it rounds, ONNX Runtime takes them apart into `_MatMul`."""
    return [node.name for node in graph.graph.node if node.op_type == "Gemm"]


@contextmanager
def _silent() -> Iterator[None]:
    """Without what the libraries say of themselves on the way."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
