"""The texts of exported models: programs, Dockerfile, README and model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.analysis import markdown
from autotune.deployment.artifact import PRUNED
from autotune.domain.metrics import METRICS
from autotune.export.checkpoint import DIVIDED, divides_texts, score_rows
from autotune.export.checkpoint import model_card as checkpoint_card

SESSION_MODULES = {
    "onnxruntime": "autotune.deployment.runtimes.onnx",
    "openvino": "autotune.deployment.runtimes.openvino",
    "transformers": "autotune.deployment.runtimes.hub",
}
"""By runtime, the module with which the programs open the model."""

_COMMON = ("numpy", "tokenizers")

PACKAGES = {
    "onnxruntime": (*_COMMON, "onnxruntime"),
    "openvino": (*_COMMON, "openvino"),
    "transformers": (*_COMMON, "safetensors", "torch", "transformers"),
}
"""By runtime, the packages that the programs need."""

PREDICT = '''"""Predicts texts with the model in this folder: python predict.py --input texts.jsonl

Each line of the input is like {{"text": "..."}}. Each line of the output is a prediction.
"""

from pathlib import Path

from autotune.deployment.programs import predict
from {module} import open_session

if __name__ == "__main__":
    predict(open_session, Path(__file__).resolve().parent)
'''

SERVER = '''"""Serves the model in this folder over HTTP: python server.py --port 8000

POST /predict, GET /health, GET /ready, GET /metrics.
"""

from pathlib import Path

from autotune.deployment.programs import serve
from {module} import open_session

if __name__ == "__main__":
    serve(open_session, Path(__file__).resolve().parent)
'''

DOCKERFILE = """\
FROM python:{version}-slim
WORKDIR /srv
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
RUN useradd --system --no-create-home server
USER server
EXPOSE 8000
HEALTHCHECK --interval=10s --start-period=60s CMD ["python", "-c", \
"import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=5)"]
CMD ["python", "server.py", "--host", "0.0.0.0", "--port", "8000"]
"""

DOCKERIGNORE = """\
__pycache__
predictions.jsonl
validation.jsonl
"""

README = """\
# {study}, trial {trial}: the trained model for {runtime}

`predict.py` predicts the rows of a file. It needs neither torch nor autotune:

```bash
pip install -r requirements.txt
python predict.py --input texts.jsonl
```

A row is like `{row}`. The labels are {labels}. {length}
{server}
## Measured when exported

{exported}

On the validation split, `validation.jsonl`, with the predictions in `predictions.jsonl`. With
autotune installed, `autotune verify .` predicts again and compares, and `autotune bench .` measures
latency under load.

## Test

{tested}

On the test split, which a search uses for its confirmations only.

## Measured by the trial

{measured}
"""

SERVER_SECTION = """
## Serve

```bash
docker build -t {image} . && docker run -p 8000:8000 {image}
curl localhost:8000/predict -d '{{"rows": [{row}]}}'
```

Without a container: `python server.py`. `/health` answers while the process runs, `/ready` once the
model is loaded, and `/metrics` in the text format of Prometheus. There is no authentication: put it
behind a proxy that has.
"""

ROWS = {"token-classification": '{"tokens": ["A", "list", "of", "words"]}'}
PAIR_ROW = '{"text": "...", "text_pair": "..."}'
TEXT_ROW = '{"text": "..."}'

PRUNED_NOTE = f"""

Heads and neurons were pruned. Here their weights are zeros, which give the same predictions without
the gain in speed and size. The folder `{PRUNED}` has the model in its own shapes, and the class
that has them: `AutoModel...from_pretrained("{PRUNED}", trust_remote_code=True)`. `predict.py` uses
that model."""

HEAD = ("metric", "value", "95% interval", "n")


def readme(document: Mapping[str, Any], runtime: str, *, has_server: bool) -> str:
    """The README as Markdown; ``document`` is the content of ``strategy.json``."""
    task = document["task"]
    is_paired = task["columns"]["text_pair"] is not None
    row = ROWS.get(task["kind"], PAIR_ROW if is_paired else TEXT_ROW)
    server = SERVER_SECTION.format(image=_image(document["study"]), row=row) if has_server else ""
    return README.format(
        study=markdown.escape(document["study"]),
        trial=document["trial"],
        runtime=runtime,
        row=row,
        labels=", ".join(map(markdown.escape, document["data"]["label_names"])),
        length=_length(document),
        server=server,
        exported=markdown.table(HEAD, score_rows(document["exported"])),
        tested=markdown.table(HEAD, score_rows(document["tested"])),
        measured=markdown.table(HEAD, score_rows(document["measured"])),
    )


def model_card(document: Mapping[str, Any], *, is_pruned: bool) -> str:
    """The card of a model in the format of ``from_pretrained``."""
    exported = {name: record for name, record in document["exported"].items() if _is_score(name)}
    note = PRUNED_NOTE if is_pruned else ""
    return checkpoint_card(
        document, {"validation": exported, "test": document["tested"]}, note=note
    )


def _length(document: Mapping[str, Any]) -> str:
    """What happens to long texts."""
    max_length = document["data"]["max_length"]
    if divides_texts(document):
        return DIVIDED.format(max_length)
    return f"Texts are cut to {max_length} tokens, and their predictions say so."


def _is_score(name: str) -> bool:
    return name in METRICS and METRICS[name].is_score


def _image(study: str) -> str:
    """A name of an image: lowercase letters, digits and hyphens."""
    letters = (letter if letter.isascii() and letter.isalnum() else "-" for letter in study.lower())
    return "".join(letters).strip("-") or "model"
