"""Analysis of the trials of a study: pure functions over domain objects, without torch or a store.

The command line, the dashboard, reports and trackers take all figures and texts from this package,
so that the same trials give the same numbers everywhere.
"""
