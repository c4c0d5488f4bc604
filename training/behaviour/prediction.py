"""Claim 2: at prediction nothing is dropped, and the weights are those of training as they are."""

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from service.runtime import Array, Graph
from training.behaviour.claim import Claim, Finding, Table
from training.behaviour.classic import classic_twin, scaled_down
from training.behaviour.networks import Network
from training.behaviour.served import Served, inputs_of, operators, weights
from training.behaviour.settings import Settings
from training.behaviour.statistics import ALARM, bernstein
from training.export import training_graph
from training.metrics import Int64
from training.metrics.classes import accuracy, nll
from training.sites import RANDOM
from training.verify import AGREE

ROUNDING = 1e-5
"""Relative: of float32 sums in another order."""
EXPECTED_ROWS = 50
EXPECTED_PASSES = 4000
CHUNK = 250


def prediction(dropping: Sequence[Network], published: Served | None, rows: Array, settings: Settings) -> Claim:
    """Of networks that drop, the last of which is looked into; of a published one where there is one.

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
        " not scale in training, has to multiply the weights by 1-p afterwards; both come to the same.",
        (*findings, *(finding for each in dropping for finding in _of_classic(each, ALARM / len(dropping)))),
        "A network trained for this report was switched to evaluation with torch's `eval()` and asked the same rows"
        f" {settings.calls} times; so was the graph that is served, in onnxruntime. Weights were compared as bytes."
        " The classic twin has weights 1/(1-p) times ours behind each dropout, and layers that zero without scaling;"
        " with the same random state both train on the same numbers. Expectations were taken over"
        f" {EXPECTED_PASSES} masks at the last dropout for {min(EXPECTED_ROWS, len(network.test.inputs))} rows; their"
        f" bounds are Bernstein's, all together crossed by chance with a probability of {ALARM:g} at most.",
        tables=(_operators(network, published), _predictions(network)),
    )


def distinct(answer: Callable[[], Array], calls: int) -> int:
    """How many different answers come, to the last bit."""
    return len({answer().tobytes() for _ in range(calls)})


def run(module: nn.Module, rows: Array | Tensor) -> Array:
    """What torch answers, in the mode that the module is in."""
    with torch.no_grad():
        answer: Array = module(torch.as_tensor(rows)).numpy()
    return answer


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
    error = _relative(run(module, rows), Graph(network.served.predict).run(inputs_of(network.served, rows)))
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
    """All that is known of a published model's weights in training is in its graph with dropout."""
    sampled, predicted = weights(served.sample), weights(served.predict)
    same = [
        name for name, tensor in predicted.items() if name in sampled and sampled[name].tobytes() == tensor.tobytes()
    ]
    return Finding(
        f"{served.title}: weights of predict.onnx found in sample.onnx byte for byte",
        f"{len(same)} of {len(predicted)} tensors",
        "all",
        len(same) == len(predicted),
    )


def _of_classic(network: Network, alpha: float) -> Iterator[Finding]:
    assert isinstance(network.module, nn.Sequential)
    ours, rows = network.module, torch.from_numpy(network.test.inputs)
    twin = classic_twin(ours)
    error = max(_relative(_thinned(ours, rows, seed), _thinned(twin, rows, seed)) for seed in range(10))
    what = f"classic dropout, p = {network.p:g}, same masks: training answers against ours, largest relative difference"
    yield Finding(what, f"{error:.1e}", f"at most {ROUNDING:g}", error <= ROUNDING)
    error = _relative(run(ours.eval(), rows), run(scaled_down(twin).eval(), rows))
    what = f"classic weights × (1-p), p = {network.p:g}: predictions against ours, largest relative difference"
    yield Finding(what, f"{error:.1e}", f"at most {ROUNDING:g}", error <= ROUNDING)
    kinds = {"ours": False, "classic": True}
    for name, classic in kinds.items():
        off, share = _off_in_expectation(ours, rows[:EXPECTED_ROWS], network.seed, classic, alpha / len(kinds))
        what = f"mean over masks behind the last linear layer, {name}, p = {network.p:g}: off from the prediction"
        yield Finding(what, f"{off:.1e} relative, {share:.2f} of its bound", "at most 1 of its bound", share <= 1)


def _thinned(module: nn.Module, rows: Tensor, seed: int) -> Array:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return run(module.train(), rows)


def _off_in_expectation(
    network: nn.Sequential, rows: Tensor, seed: int, classic: bool, alpha: float
) -> tuple[float, float]:
    """How far the mean over masks is off, relative to the largest number predicted and as a share of its bound.

    The dropout layer itself is run in training mode, on the units that it gets at prediction.
    """
    layers = list(network.eval())
    last, p = max((place, layer.p) for place, layer in enumerate(layers) if isinstance(layer, nn.Dropout))
    trained = classic_twin(network) if classic else network
    predicting = scaled_down(trained) if classic else network
    with torch.no_grad():
        reached = network[:last](rows).double()  # (rows, units)
        total = _total_of_masks(copy.deepcopy(trained[last]), reached, seed)
        weight, final = (each[last + 1].get_parameter("weight").double().numpy() for each in (trained, predicting))
    units, factor = reached.numpy(), 1.0 if classic else 1 / (1 - p)
    mean, wanted = total @ weight.T / EXPECTED_PASSES, units @ final.T
    sizes = np.abs(units[:, None, :] * weight) * factor  # (rows, outputs, units)
    variance = EXPECTED_PASSES * p * (1 - p) * np.square(sizes).sum(axis=-1)
    bound = bernstein(variance, float(sizes.max()) * max(p, 1 - p), alpha / mean.size) / EXPECTED_PASSES
    off = np.abs(mean - wanted)
    return float(off.max() / np.abs(wanted).max()), float((off / bound).max())


def _total_of_masks(dropout: nn.Module, units: Tensor, seed: int) -> Array:
    """The sum of what so many masks leave of the units: (rows, units)."""
    total = torch.zeros_like(units)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(EXPECTED_PASSES // CHUNK):
            total += dropout.train()(units.expand(CHUNK, *units.shape)).sum(dim=0)
    return total.numpy()


def _operators(network: Network, published: Served | None) -> Table:
    """Of the graph in training mode and of those that predict, side by side."""
    exported = training_graph(network.module, network.example).SerializeToString()
    graphs = {"exported in training mode": exported, f"p = {network.p:g}: predict.onnx": network.served.predict}
    if published:
        graphs[f"{published.title}: predict.onnx"] = published.predict
    listed = [
        (name, ", ".join(f"{op} {count}" for op, count in operators(graph).items())) for name, graph in graphs.items()
    ]
    return Table("Operators of the graphs, with how many there are.", ("graph", "operators"), listed)


def _predictions(network: Network) -> Table:
    assert isinstance(network.module, nn.Sequential)
    twin = classic_twin(network.module)
    rows, targets = network.test.inputs, network.test.targets.astype(np.int64)
    predicted = {
        "ours, weights as trained": network.module.eval(),
        "classic, weights × (1-p)": scaled_down(twin).eval(),
        "classic, scaling forgotten": twin.eval(),
        "ours, needlessly scaled by 1-p": scaled_down(network.module).eval(),
    }
    told = [(name, *_figures(run(module, rows), targets)) for name, module in predicted.items()]
    return Table(f"Predictions for {len(rows)} test rows.", ("network", "accuracy", "NLL (nats)"), told)


def _figures(logits: Array, targets: Int64) -> tuple[str, str]:
    probabilities = torch.softmax(torch.from_numpy(logits).double(), 1).numpy()
    return f"{accuracy(probabilities, targets):.4f}", f"{nll(probabilities, targets):.4f}"


def _digest(module: nn.Module) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in module.state_dict().values())


def _relative(one: Array, other: Array) -> float:
    return float(np.abs(one - other).max() / max(1.0, float(np.abs(one).max())))
