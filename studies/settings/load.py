"""A study's file to its settings; whatever is wrong with it is said in one line a fault, before any work."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from studies.settings.study import StudySettings

PRESETS = Path(__file__).resolve().parent.parent / "presets"


class StudyError(ValueError):
    """A study's file is missing, unreadable, or asks for something impossible."""


def preset_names() -> list[str]:
    """Names of the studies that we ship."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def study_path(study: str) -> Path:
    """The file of a study.

    Args:
        study: Name of a preset, or path of a YAML file.

    Raises:
        StudyError: If there is neither.

    Example:
        >>> study_path("smoke").name
        'smoke.yaml'
    """
    if study in preset_names():
        return PRESETS / f"{study}.yaml"
    path = Path(study)
    if path.is_file():
        return path
    raise StudyError(f"no study {study!r}: give one of {', '.join(preset_names())}, or the path of a YAML file")


def load_study(study: str) -> StudySettings:
    """The settings of a preset or of a YAML file.

    Args:
        study: Name of a preset, or path of a YAML file.

    Raises:
        StudyError: If the file is missing, is not YAML, or a value is unknown or impossible; the message gives the
            field's path, what came and what is allowed.
    """
    path = study_path(study)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise StudyError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise StudyError(f"{path} must hold fields like name, benchmark, seeds and methods, got {_short(content)}")
    try:
        return StudySettings.model_validate(content, context={"folder": path.parent})
    except ValidationError as error:
        raise StudyError("\n".join(f"{path.name}: {line}" for line in explain(error))) from error


def explain(error: ValidationError) -> list[str]:
    """One line a fault: the field's path, the rule, what came."""
    lines = []
    faults = error.errors()
    places = [fault["loc"] for fault in faults]
    for fault in faults:
        if fault["type"] == "too_short" and any(
            len(place) > len(fault["loc"]) and place[: len(fault["loc"])] == fault["loc"] for place in places
        ):
            # The list is only short of the items whose own faults are told anyway.
            continue
        where = ".".join(str(part) for part in fault["loc"]).replace("swept_options", "sweep") or "study"
        rule = fault["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        if fault["type"] == "extra_forbidden":
            lines.append(f"{where}: unknown field; {_known_fields(fault['loc'])}")
        elif fault["type"] == "missing":
            lines.append(f"{where}: this field is needed")
        elif fault["type"] == "value_error" and isinstance(fault["input"], dict):
            lines.append(f"{where}: {rule}")
        else:
            lines.append(f"{where}: {rule[0].lower()}{rule[1:]}, got {_short(fault['input'])}")
    return lines


def _known_fields(location: tuple[int | str, ...]) -> str:
    model: Any = StudySettings
    for part in location[:-1]:
        # A pool's own name stands in the path, too.
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation)
    return f"allowed: {', '.join(model.model_fields)}"


def _model_in(annotation: Any) -> Any:
    if hasattr(annotation, "model_fields"):
        return annotation
    parts = getattr(annotation, "__args__", ())
    return next((found for part in parts if (found := _model_in(part)) is not None), None)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
