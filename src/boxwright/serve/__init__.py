"""An HTTP server for an exported model: ``boxwright serve model.onnx``. No torch."""

from boxwright.serve.app import make_app
from boxwright.serve.limits import Limits
from boxwright.serve.server import serve

__all__ = ["Limits", "make_app", "serve"]
