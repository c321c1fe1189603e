"""Where trials run: isolated worker processes here, or a Ray cluster."""
