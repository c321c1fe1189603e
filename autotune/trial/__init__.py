"""What runs: one real fine-tune under a strategy, one file a lever."""
