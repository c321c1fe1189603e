"""autotune finds how to fine-tune your BERT: faster, cheaper, as accurate, on your own hardware."""

__version__ = "0.1.0"
