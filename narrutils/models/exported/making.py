"""Making of an encoder an ONNX file: torch traces it, adapters merged, and its weights may be rounded.

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

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
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
#: Weights beside one another that are rounded on one scale.
BLOCK = 32
#: In which a product of rounded weights is added up: 1 is float32, 4 is 8-bit integers.
ADDED = 1


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
    """Round the weights of an exported model to 8 bits, in place: of products, and tables of embeddings.

    Each block of weights has a scale of its own, and the head stays as it is. States are not rounded: on
    one scale for a whole batch, as dynamic quantisation rounds them, they changed more codes than
    rounded weights do, and what was read of a case depended on its batch. Products are added up in
    float32, which no processor saturates.
    """
    with _silent():
        rounding = MatMulNBitsQuantizer(
            onnx.load(folder / GRAPH), bits=8, block_size=BLOCK, is_symmetric=True, accuracy_level=ADDED
        )
        rounding.process()
    model = rounding.model.model
    _round_tables(model.graph)
    _save(model, folder / GRAPH, folder.name)
    described = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    write_json(folder / SETTINGS, described | {"weights": "int8"})


def _round_tables(graph) -> None:
    """Round the tables that rows are gathered from, as `MatMulNBitsQuantizer` does in 4 bits alone."""
    tables = {each.name: each for each in graph.initializer if each.data_type == onnx.TensorProto.FLOAT}
    for node in graph.node:
        if node.op_type != "Gather" or node.input[0] not in tables:
            continue
        table = tables[node.input[0]]
        if len(table.dims) == 2 and table.dims[1] % BLOCK == 0:
            values, scales = _rounded(numpy_helper.to_array(table), table.name)
            graph.initializer.extend([values, scales])
            inputs = [values.name, node.input[1], scales.name]
            how = {"bits": 8, "block_size": BLOCK, "gather_axis": 0, "quantize_axis": 1}
            node.CopyFrom(
                onnx.helper.make_node(
                    "GatherBlockQuantized", inputs, node.output, node.name, domain="com.microsoft", **how
                )
            )
    used = {name for node in graph.node for name in node.input}
    for table in tables.values():
        if table.name not in used:
            graph.initializer.remove(table)


def _rounded(table: np.ndarray, name: str) -> tuple[onnx.TensorProto, onnx.TensorProto]:
    """A table `[rows, width]` in steps from 1 to 255, 128 for zero, and the size of a step of each block."""
    blocks = table.reshape(len(table), -1, BLOCK)
    steps = np.abs(blocks).max(axis=2) / 127
    values = np.rint(blocks / np.where(steps > 0, steps, 1)[..., None]) + 128
    values = values.astype(np.uint8).reshape(table.shape)
    return numpy_helper.from_array(values, f"{name}_8"), numpy_helper.from_array(steps, f"{name}_steps")


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
