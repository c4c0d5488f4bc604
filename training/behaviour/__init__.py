"""What dropout does, shown by measurement: one report of six claims, with and without dropout side by side.

data → networks trained with p = 0, 0.2 and 0.5, and published → a claim a file, measured → Markdown and HTML.
A claim's verdict is computed from its findings; none is written in advance.
"""
