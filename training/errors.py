"""What training refuses: a branch of the tree in `service.errors`.

DropserveError
└── TrainingError
    ├── ConfigError         a setting is unknown or has a wrong value
    ├── CannotExport        the network, or a graph, cannot be turned into predict.onnx and sample.onnx
    ├── VerificationFailed  the exported graphs do not do what the network does
    └── PublishFailed       the model cannot be written to the folder of models
"""

from service.errors import DropserveError


class TrainingError(DropserveError):
    code = "training_failed"


class ConfigError(TrainingError):
    code = "invalid_config"


class CannotExport(TrainingError):
    code = "cannot_export"


class VerificationFailed(TrainingError):
    code = "verification_failed"


class PublishFailed(TrainingError):
    code = "publish_failed"
