"""Dropserve's service: deterministic inference and, on request, MC dropout uncertainty, from ONNX graphs.

The names in `__all__` are its public API; they are imported when they are first used.
"""

from typing import TYPE_CHECKING

from service.lazy import lazy_names

__version__ = "0.2.0"
__all__ = ["Settings", "create_app", "load_model"]

if TYPE_CHECKING:
    from service.config import Settings
    from service.http.app import create_app
    from service.loading.load import load_model
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "Settings": "service.config",
            "create_app": "service.http.app",
            "load_model": "service.loading.load",
        },
    )
