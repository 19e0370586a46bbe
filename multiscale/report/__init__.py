"""Pictures and pages from plain tables and graphs."""

from multiscale.report.findings import Findings

__all__ = ["Findings"]
