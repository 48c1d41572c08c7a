"""Export models as files that need neither torch nor boxwright."""

from boxwright.export.exporting import Exported, Unfaithful, export_run

__all__ = ["Exported", "Unfaithful", "export_run"]
