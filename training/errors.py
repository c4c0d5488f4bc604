"""What training refuses: a branch of the tree in `service.errors`.

DropserveError
└── TrainingError
    ├── CannotExport        the network, or a graph, cannot be turned into predict.onnx and sample.onnx
    └── VerificationFailed  the exported graphs do not do what the network does
"""

from service.errors import DropserveError


class TrainingError(DropserveError):
    code = "training_failed"


class CannotExport(TrainingError):
    code = "cannot_export"


class VerificationFailed(TrainingError):
    code = "verification_failed"
