"""What a linear probe reads out of each layer of an untrained causal model, out of fold.

    python -m benchmarks.layers outputs/demo --max-tokens 192

The states are those that the head of 05 is given: the mean of the whole case beside that of each
narrative. Layer 0 is the embeddings. Printed are average F1 and the mean area under the curve.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.evaluation.scores import score
from narrutils.models.backbones import load_body, load_tokenizer, resolve
from narrutils.models.classifier import pool_parts
from narrutils.models.linear import fit_probe
from narrutils.models.reading import Inputs
from narrutils.models.text import batches
from narrutils.training.recipe import Recipe


def states_of_layers(study: Study, backbone: str, max_tokens: int) -> list[np.ndarray]:
    """Of each layer, `[cases, 3 × hidden]` in training order."""
    found, recipe = resolve(backbone), Recipe(max_tokens=max_tokens)
    body = load_body(found, torch.float32).eval()
    texts = study.train[study.schema.text_columns]
    inputs = Inputs(texts, load_tokenizer(found), recipe)
    layers: list[np.ndarray] = []
    for rows in batches(texts, inputs.lengths, size=16):
        batch = inputs.batch(rows)
        parts = batch.pop("parts")
        with torch.inference_mode():
            states = body(**batch, output_hidden_states=True).hidden_states
            pooled = [pool_parts(layer, batch["attention_mask"], parts).numpy() for layer in states]
        layers = layers or [np.zeros((len(texts), one.shape[1]), np.float32) for one in pooled]
        for all_rows, some in zip(layers, pooled, strict=True):
            all_rows[rows] = some
    return layers


def probed(study: Study, states: np.ndarray, inverse_regularisation: float) -> tuple[float, float]:
    """Average F1, thresholds cross-fitted, and the mean area under the curve over the columns that vary."""
    schema, folds = study.schema, study.folds.to_numpy()
    targets = schema.to_targets(study.labels)
    logits = np.zeros((len(states), schema.width), np.float32)
    for fold in np.unique(folds):
        own = folds == fold
        probe = fit_probe(schema, states[~own], targets[~own], inverse_regularisation)
        logits[own] = (states[own] - probe.centre) / probe.spread @ probe.weights + probe.bias
    answers = targets.to_numpy() > 0.5
    areas = [roc_auc_score(a, told) for a, told in zip(answers.T, logits.T) if 0 < a.sum() < len(a)]
    readings = schema.from_logits(logits, study.train.index)
    return score(study, readings).average_f1, float(np.mean(areas))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", help="a run folder with cases and folds")
    parser.add_argument("--backbone", default="gemma3-270m")
    parser.add_argument("--max-tokens", type=int, default=192)
    parser.add_argument("--c", type=float, default=Recipe().probe_c, help="scikit-learn's C of the probe")
    asked = parser.parse_args(argv)
    study = Study.open(Run(asked.folder, "05_gemma_lora"))
    for number, states in enumerate(states_of_layers(study, asked.backbone, asked.max_tokens)):
        f1, area = probed(study, states, asked.c)
        print(f"layer {number:2}  average F1 {f1:.3f}  area under the curve {area:.3f}", flush=True)


if __name__ == "__main__":
    main()
