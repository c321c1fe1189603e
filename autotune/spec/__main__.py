"""Prints the JSON Schema of study files: the content of ``search_spaces/schema.json``."""

from __future__ import annotations

import sys

from autotune.spec.schema import schema_text

if __name__ == "__main__":
    sys.stdout.write(schema_text())
