"""Claim 2: at prediction nothing is dropped, and the weights are those of training."""

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from service.model.runtime import Array, Graph
from training.behaviour.claim import Claim, Finding, Table
from training.behaviour.expectation import EXPECTED_PASSES, EXPECTED_ROWS, of_classic, predictions
from training.behaviour.networks import Network
from training.behaviour.scores import Score
from training.behaviour.served import Served, distinct, inputs_of, largest_relative, operators, run, weights
from training.behaviour.settings import Settings
from training.behaviour.statistics import ALARM
from training.exporting.export import training_graph
from training.exporting.folding import OWN
from training.exporting.sites import RANDOM
from training.exporting.tolerances import AGREE


def prediction(
    dropping: Sequence[Network], published: Served | None, rows: Array, score: Score, settings: Settings
) -> Claim:
    """Return the claim on networks with dropout, the last of them in detail, and on a published one if given.

    `rows` are test rows of the latter.
    """
    network = dropping[-1]
    findings = [
        *_of_torch(network, settings),
        *_of_graph(network.served, network.test.inputs, settings, f"p = {network.p:g}"),
    ]
    if published:
        findings += _of_graph(published, rows, settings, published.title)
        findings.append(_of_both_graphs(published))
    return Claim(
        "prediction",
        "Prediction drops nothing and rescales nothing",
        "At prediction and evaluation no unit is dropped: the graph has no dropout operator, the answers are"
        " bit-identical from call to call, and the weights are exactly those of training. Classic dropout, which does"
        " not scale in training, has to multiply the weights by 1-p afterwards; both are equivalent.",
        (*findings, *(finding for each in dropping for finding in of_classic(each, ALARM / len(dropping)))),
        "A network trained for this report was set to evaluation mode with torch's `eval()` and run on the same rows"
        f" {settings.calls} times; so was the served graph, in onnxruntime. Weights were compared as bytes."
        " The classic twin has weights 1/(1-p) times as large behind each dropout, and layers that zero without"
        " scaling; with the same random state both give the same answers in training, up to rounding. Expectations are"
        f" over {EXPECTED_PASSES} masks at the last dropout, for {min(EXPECTED_ROWS, len(network.test.inputs))} rows;"
        f" their bounds are Bernstein's, all together crossed by chance with a probability of {ALARM:g} at most.",
        tables=(_operators(network, published), predictions(network, score)),
    )


def _of_torch(network: Network, settings: Settings) -> Iterator[Finding]:
    module, rows, calls = network.module, network.test.inputs, settings.calls
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(network.seed)
        before = _digest(module.train())
        in_training = distinct(lambda: run(module, rows), calls)
        in_evaluation = distinct(lambda: run(module.eval(), rows), calls)
    what = f"torch, evaluation mode: different answers in {calls} calls"
    yield Finding(what, f"{in_evaluation}", "1", in_evaluation == 1)
    what = f"torch, training mode: different answers in {calls} calls"
    yield Finding(what, f"{in_training}", f"{calls}", in_training == calls)
    same = _digest(module) == before
    yield Finding("weights before and after switching", "equal bytes" if same else "different", "equal bytes", same)
    learned = [tensor.detach().numpy() for tensor in module.parameters()]
    stored = {(tensor.shape, tensor.tobytes()) for tensor in weights(network.served.predict).values()}
    found = sum((tensor.shape, tensor.tobytes()) in stored for tensor in learned)
    yield Finding(
        "torch's parameters found in predict.onnx byte for byte",
        f"{found} of {len(learned)} tensors, {sum(tensor.size for tensor in learned):,} numbers",
        "all",
        found == len(learned),
    )
    error = largest_relative(run(module, rows), Graph(network.served.predict).run(inputs_of(network.served, rows)))
    yield Finding(
        "torch against predict.onnx, largest relative difference", f"{error:.1e}", f"at most {AGREE:g}", error <= AGREE
    )


def _of_graph(served: Served, rows: Array, settings: Settings, title: str) -> Iterator[Finding]:
    random = sum(count for name, count in operators(served.predict).items() if name in {"Dropout", *RANDOM})
    yield Finding(f"{title}: predict.onnx: dropout or random operators", f"{random}", "0", random == 0)
    graph, inputs = Graph(served.predict), inputs_of(served, rows)
    count = distinct(lambda: graph.run(inputs), settings.calls)
    what = f"{title}: predict.onnx: different answers in {settings.calls} calls"
    yield Finding(what, f"{count}", "1", count == 1)


def _of_both_graphs(served: Served) -> Finding:
    """Return the finding on a published model, whose weights in training are known only by its graph with dropout."""
    sampled, predicted = weights(served.sample), weights(served.predict)
    same = [name for name in sampled.keys() & predicted.keys() if sampled[name].tobytes() == predicted[name].tobytes()]
    own = [name for name in sampled if name.startswith(OWN)]
    return Finding(
        f"{served.title}: weights of sample.onnx found in predict.onnx byte for byte",
        f"{len(same)} of {len(sampled) - len(own)} tensors",
        "all",
        len(same) == len(sampled) - len(own),
    )


def _operators(network: Network, published: Served | None) -> Table:
    """Return the operators of the graph in training mode and of those that predict."""
    exported = training_graph(network.module, network.example).SerializeToString()
    graphs = {"exported in training mode": exported, f"p = {network.p:g}: predict.onnx": network.served.predict}
    if published:
        graphs[f"{published.title}: predict.onnx"] = published.predict
    listed = [
        (name, ", ".join(f"{op} {count}" for op, count in operators(graph).items())) for name, graph in graphs.items()
    ]
    return Table("Operators of the graphs, with their number.", ("graph", "operators"), listed)


def _digest(module: nn.Module) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in module.state_dict().values())
