"""One self-contained page on a run: tables, curves and pictures, readable offline and for years."""

from __future__ import annotations

from boxwright.report.content import Comparison, ErrorRow, Picture, ReportData
from boxwright.report.page import write_report

__all__ = ["Comparison", "ErrorRow", "Picture", "ReportData", "write_report"]
