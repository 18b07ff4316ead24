"""The report of a run: one page, `report.html`, that needs nothing but itself."""

from __future__ import annotations

from models.evaluation.report.findings import Findings, LeftOut, read_findings
from models.evaluation.report.write import NAME, report_page, report_step, write_report

__all__ = ["NAME", "Findings", "LeftOut", "read_findings", "report_page", "report_step", "write_report"]
