"""The JSON Schema of study files, with which editors complete and check YAML.

``python -m autotune.spec > search_spaces/schema.json`` writes it.
"""

from __future__ import annotations

import json
from typing import Any

from autotune.domain import Categorical, Range
from autotune.domain.metrics import METRICS
from autotune.levers import LEVERS, Lever
from autotune.levers.base import Pattern
from autotune.spec.fields import AUTO
from autotune.spec.models import StudyFile

Schema = dict[str, Any]


def json_schema() -> Schema:
    """The schema of a study file, with all levers, their legal settings, and all metrics."""
    schema = StudyFile.model_json_schema(mode="validation")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "autotune study"
    sections = schema["properties"]
    sections["space"] = {
        "type": "object",
        "description": "The levers to search; all others keep the defaults of the Trainer",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {name: _lever(lever) for name, lever in LEVERS.items()},
    }
    strategy = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _setting(lever) for name, lever in LEVERS.items()},
    }
    sections["baseline"] = {"description": sections["baseline"]["description"], **strategy}
    sections["start_with"] = {
        "description": sections["start_with"]["description"],
        "anyOf": [{"const": AUTO}, {"type": "array", "items": strategy}],
        "default": AUTO,
    }
    sections["objectives"]["items"] = {
        "anyOf": [{"$ref": "#/$defs/ObjectiveSpec"}, {"enum": list(METRICS)}]
    }
    schema["$defs"]["ObjectiveSpec"]["properties"]["metric"] = {
        "description": "The metric to optimise",
        "oneOf": [
            {"const": m.name, "description": f"{m.summary} [{m.unit}]"} for m in METRICS.values()
        ],
    }
    schema["$defs"].pop("LeverSpec", None)
    schema["required"].remove("objectives")
    schema["anyOf"] = [{"required": ["objectives"]}, {"required": ["goal"]}]
    return schema


def schema_text() -> str:
    """The schema as a JSON document."""
    return json.dumps(json_schema(), indent=1, sort_keys=True) + "\n"


def _lever(lever: Lever) -> Schema:
    setting = _setting(lever)
    several = {"type": "array", "items": setting, "minItems": 1, "uniqueItems": True}
    values = {"anyOf": [{"const": "auto"}, setting, several]}
    when = {
        "type": "string",
        "description": "Condition over levers listed before this one",
    }
    forms: list[Schema] = [*values["anyOf"], _mapping({"values": values, "when": when}, "values")]
    if isinstance(lever.domain, Range):
        number = _setting(lever)["anyOf"][0] if lever.named_values else setting
        ends = {"low": number, "high": number}
        step = {"type": number["type"], "exclusiveMinimum": 0}
        options = {"step": step, "log": {"type": "boolean"}, "when": when}
        forms.append(_mapping({**ends, **options}, "low", "high"))
    return {"description": f"{lever.summary}. Valid: {lever.describe()}", "anyOf": forms}


def _mapping(properties: Schema, *required: str) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": list(required),
    }


def _setting(lever: Lever) -> Schema:
    """The schema of one legal setting."""
    if isinstance(lever.domain, Pattern):
        return {"type": "string", "pattern": f"^({lever.domain.regex})$"}
    if isinstance(lever.domain, Categorical):
        return {"enum": list(lever.domain.values)}
    number: Schema = {
        "type": "integer" if lever.domain.integer else "number",
        "minimum": lever.domain.low,
        "maximum": lever.domain.high,
    }
    return {"anyOf": [number, {"enum": list(lever.named_values)}]} if lever.named_values else number
