"""From records to what a person reads: one HTML page that opens offline, the same in Markdown, and figures for a paper.

This room reads records and answers only. It runs no model and computes no interval. Whatever a model or a user wrote
is shown as text and never as markup.
"""

from dormouse.report.page import write_report

__all__ = ["write_report"]
