"""The two graphs of a model as one network: what no mask reaches is computed once for all samples of a row."""

from collections.abc import Sequence

from service.engine.inputs import Inputs
from service.model.runtime import Array, Graph

MASK = "mask_"


class Network:
    """A network without dropout, and with masks.

    predict.onnx returns the answer and, in further outputs, tensors (rows, …) that sample.onnx takes beside the masks.
    sample.onnx may also take the inputs themselves; without further outputs of predict.onnx it takes nothing else.
    """

    def __init__(self, predict: Graph, sample: Graph) -> None:
        """Combine the graphs, whose contract `service.loading.load` checks."""
        self._predict = predict
        self._sample = sample
        self._shared = [tensor.name for tensor in predict.outputs[1:]]
        self._taken = [tensor.name for tensor in sample.inputs if not tensor.name.startswith(MASK)]
        self.size = sample.size
        """Bytes of sample.onnx."""

    def predict(self, inputs: Inputs) -> Array:
        """Return the output of the network without dropout: (rows, outputs). Raises InvalidInput."""
        return self._predict.run(inputs)

    def begin(self, inputs: Inputs) -> tuple[Array, Inputs]:
        """Return the output of the network without dropout, and what `sample` takes of these rows.

        Raises InvalidInput.
        """
        output, *shared = self._predict.run_all(inputs)
        given = {**inputs, **dict(zip(self._shared, shared, strict=True))}
        return output, {name: given[name] for name in self._taken}

    def sample(self, begun: Inputs, masks: Sequence[Array]) -> Array:
        """Return the outputs (passes, rows, outputs) for masks (passes, 1, …) of each site. Raises InvalidInput."""
        return self._sample.run({**begun, **{f"{MASK}{i}": mask for i, mask in enumerate(masks)}})
