"""From data to a published model: train, evaluate, calibrate, export, verify, publish. Serving never imports it.

The names in `__all__` are its public API; they are imported, and torch with them, when they are first used.
"""

from typing import TYPE_CHECKING

from service.lazy import lazy_names

__all__ = ["Rows", "export", "publish_module", "publish_onnx", "verify"]

if TYPE_CHECKING:
    from training.evidence.rows import Rows
    from training.exporting.export import export
    from training.exporting.verify import verify
    from training.importing.publishing import publish_onnx
    from training.publish.release import publish_module
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "Rows": "training.evidence.rows",
            "export": "training.exporting.export",
            "publish_module": "training.publish.release",
            "publish_onnx": "training.importing.publishing",
            "verify": "training.exporting.verify",
        },
    )
