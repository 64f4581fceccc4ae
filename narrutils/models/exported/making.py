"""Making of an encoder an ONNX file: torch traces it, adapters merged, and its weights may be rounded.

The same model gives the same bytes, in which there is neither a path nor a line of code.
"""

import copy
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from peft import PeftModel
from torch import Tensor, nn

from narrutils.data.files import atomic, write_json
from narrutils.errors import InputError
from narrutils.models.backbones import is_encoder, quiet
from narrutils.models.bases import once
from narrutils.models.classifier import Classifier
from narrutils.models.exported.reading import GRAPH, SETTINGS, SPECIAL, WORDS
from narrutils.models.reading import NeuralModel
from narrutils.models.settings import Reading

#: A protobuf holds no more; weights beside it would be a second file.
LARGEST = 2**31 - 1
#: What is rounded -> which of its two inputs is its table.
ROUNDED = {"MatMul": 1, "Gather": 0}
#: Weights beside one another that are rounded on one scale.
BLOCK = 32
#: How ONNX Runtime adds up a product of rounded weights: 1 in float32, 4 in 8-bit integers.
ACCURACY = 1
#: The domain of ONNX Runtime's own operators.
OWN = "com.microsoft"


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


#: What was traced: architecture -> its graph without weights, which siblings share.
_known: dict[tuple, object] = {}


def _traced(classifier: Classifier, name: str) -> onnx.ModelProto:
    """The graph of a classifier, for any number of rows and tokens."""
    graph = _Graph(classifier)
    weights = dict(graph.named_parameters()) | dict(graph.named_buffers())
    config = {**classifier.body.config.to_dict(), "_name_or_path": ""}
    shapes = [(each, tuple(w.shape), w.dtype) for each, w in weights.items()]
    key = (json.dumps(config, default=str), classifier.pooling, classifier.narratives, *shapes)
    with _silent(), torch.no_grad():
        traced = once(_known, key, lambda: _trace(graph, weights, name))
        program = torch.onnx.ONNXProgram(traced.clone(), None)
        program.apply_weights(weights)
        program.optimize()
        return program.model_proto


def _trace(graph: _Graph, weights: Mapping[str, Tensor], name: str):
    """What torch makes of a classifier: places for its weights, by name, and nothing simplified.

    Raises:
        InputError: torch cannot translate it.
    """
    classifier, rows, tokens = graph.classifier, 3, 5  # any but 0 and 1, for which torch translates otherwise
    given = {"input_ids": torch.ones(rows, tokens, dtype=torch.long)}
    given["attention_mask"] = torch.ones(rows, tokens, dtype=torch.long)
    shapes: dict[str, dict] = {each: {0: "rows", 1: "tokens"} for each in given}
    if classifier.pooling == "parts":
        given["parts"] = torch.ones(rows, classifier.narratives, tokens, dtype=torch.long)
        shapes["parts"] = {0: "rows", 2: "tokens"}
    try:
        traced = torch.onnx.export(
            graph,
            (),
            kwargs=given,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(given),
            output_names=["logits"],
            verbose=False,
            optimize=False,
        ).model
    except Exception as error:
        kind = classifier.body.config.model_type
        raise InputError(
            f"{name}: torch cannot translate {kind} to ONNX ({type(error).__name__}); bundle without --onnx"
        ) from error
    for each in weights.keys() & traced.graph.initializers.keys():
        traced.graph.initializers[each].const_value = None
    return traced


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

    Each block of weights has a scale of its own; the head stays as it is. States are not rounded:
    dynamic quantisation, which rounds them on one scale for a whole batch, changed some five times as
    many codes, and what it read of a case depended on its batch. Products are added up in float32, which
    no processor saturates; so the file is smaller, and reading it is not faster.
    """
    model = onnx.load(folder / GRAPH)
    graph = model.graph
    tables = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 2}
    for node in graph.node:
        if node.op_type in ROUNDED and (table := tables.get(node.input[place := ROUNDED[node.op_type]])):
            made, parts = _node(node, numpy_helper.to_array(table), table.name, node.input[1 - place])
            node.CopyFrom(made)
            known = {each.name for each in graph.initializer}
            graph.initializer.extend([part for part in parts if part.name not in known])
    read = {name for node in graph.node for name in node.input}
    for name, table in tables.items():
        if name not in read:
            graph.initializer.remove(table)
    if OWN not in {each.domain for each in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(OWN, 1))
    _save(model, folder / GRAPH, folder.name)
    described = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    write_json(folder / SETTINGS, described | {"weights": "int8"})


def _node(node: NodeProto, table: np.ndarray, name: str, given: str) -> tuple[NodeProto, list[TensorProto]]:
    """What takes the place of a product or of a look-up, and its rounded table and scales."""
    how = {"domain": OWN, "bits": 8, "block_size": BLOCK}
    if node.op_type == "Gather":
        values, steps = _rounded(table)
        values = values.reshape(len(table), -1)[:, : table.shape[1]]
        inputs, kind = [f"{name}_rows", given, f"{name}_row_steps"], "GatherBlockQuantized"
        how |= {"gather_axis": 0, "quantize_axis": 1}
    else:
        values, steps = _rounded(table.T)
        inputs, kind = [given, f"{name}_values", f"{name}_steps"], "MatMulNBits"
        how |= {"K": table.shape[0], "N": table.shape[1], "accuracy_level": ACCURACY}
    names = [each for each in inputs if each != given]
    parts = [numpy_helper.from_array(each, title) for each, title in zip((values, steps), names)]
    return helper.make_node(kind, inputs, node.output, node.name, **how), parts


def _rounded(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values `[rows, blocks, BLOCK]` from 1 to 255, 128 for zero, and the step of each block."""
    short = -table.shape[1] % BLOCK
    blocks = np.pad(table, ((0, 0), (0, short))).reshape(len(table), -1, BLOCK)
    steps = np.abs(blocks).max(axis=2) / np.float32(127)
    return (np.rint(blocks / np.where(steps > 0, steps, 1)[..., None]) + 128).astype(np.uint8), steps


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
