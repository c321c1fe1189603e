"""A study as one document that can be shared: HTML, Markdown or PDF."""

FORMATS = ("html", "md", "pdf")
"""What a report can be written as."""
