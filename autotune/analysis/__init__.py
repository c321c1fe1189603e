"""What the trials of a study say: pure functions over domain objects, without torch or a store.

The command line, the dashboard and the reports all take their figures from here, so that the same
trials give the same words and numbers everywhere.
"""
