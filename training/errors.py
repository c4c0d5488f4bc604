"""The errors of training, a branch of the hierarchy in `service.errors`.

DropserveError
└── TrainingError
    ├── ConfigError         a setting is unknown or has a wrong value
    ├── CannotExport        the network, or a graph, cannot be turned into predict.onnx and sample.onnx
    ├── VerificationFailed  the exported graphs compute something else than the network
    └── PublishFailed       the model cannot be written to the folder of models
"""

from service.errors import DropserveError


class TrainingError(DropserveError):
    """A training run cannot go on."""

    code = "training_failed"


class ConfigError(TrainingError):
    """A setting is unknown or has a wrong value."""

    code = "invalid_config"


class CannotExport(TrainingError):
    """The network, or a graph, cannot be turned into predict.onnx and sample.onnx."""

    code = "cannot_export"


class VerificationFailed(TrainingError):
    """The exported graphs compute something else than the network."""

    code = "verification_failed"


class PublishFailed(TrainingError):
    """The model cannot be written to the folder of models."""

    code = "publish_failed"
