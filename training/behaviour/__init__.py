"""Measure what dropout does: one report of six claims, with and without dropout side by side.

Networks are trained with p = 0, 0.2 and 0.5 and published; each claim is measured in a file of its own; the report is
written as Markdown and HTML. A claim's verdict is computed from its findings.
"""
