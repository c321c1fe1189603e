"""Print the JSON Schema of study files, as ``search_spaces/schema.json`` holds it."""

from __future__ import annotations

import sys

from autotune.spec.schema import text

if __name__ == "__main__":
    sys.stdout.write(text())
