"""``python -m autotune.deployment FOLDER``: serves an artifact in any runtime."""

import sys
from pathlib import Path

from autotune.deployment.programs import serve
from autotune.deployment.runtimes import open_session

if __name__ == "__main__":
    serve(open_session, Path(sys.argv[1]), sys.argv[2:])
