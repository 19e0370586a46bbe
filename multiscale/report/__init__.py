"""Pictures and pages from plain tables and graphs."""

from multiscale.report import html, plots

__all__ = ["html", "plots"]
