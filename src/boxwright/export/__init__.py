"""Export models as files that need neither torch nor boxwright."""

from boxwright.export.exporting import Exported, export_run
from boxwright.export.verify import Unfaithful

__all__ = ["Exported", "Unfaithful", "export_run"]
