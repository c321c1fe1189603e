"""The search: what to try next, when to stop, and the one loop that joins them."""
