"""A REST service over the store: studies wait in a queue and run in driver processes.

Start with :func:`autotune.service.server.serve`.
"""
