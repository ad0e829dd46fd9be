"""Methods of a user's own: Python files outside the package that a study names, loaded by whoever needs them.

A plugin is code and is run. Nothing else in a study's file is.
"""

import hashlib
import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from studies.settings.traits import Options, Traits, add_traits

USERS: dict[str, Callable[..., Any]] = {}
"""The users' methods by name, as far as they have been loaded."""

_LOADED: dict[str, str] = {}


def load_plugins(paths: Iterable[Path]) -> None:
    """Makes the methods in these files known, once for each content of a file.

    A file holds a dictionary ``METHODS`` from names to classes that behave like `studies.methods.Method`; a class may
    have settings of its own, as a nested class ``Options`` derived from `studies.settings.Options`.

    Args:
        paths: Python files.

    Raises:
        ValueError: If a file is missing, cannot be run, or holds no such dictionary.
    """
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ValueError(f"plugins: {path} cannot be read: {error.strerror}") from error
        code = hashlib.sha256(content).hexdigest()
        if _LOADED.get(str(path)) == code:
            continue
        for name, method in _methods(path, code).items():
            options = getattr(method, "Options", Options)
            add_traits(name, Traits(options, code=code))
            USERS[name] = method
        _LOADED[str(path)] = code


def _methods(path: Path, code: str) -> dict[str, Callable[..., Any]]:
    spec = importlib.util.spec_from_file_location(f"gmixout_plugin_{code[:16]}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"plugins: {path} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"plugins: {path} cannot be run: {type(error).__name__}: {error}") from error
    methods = getattr(module, "METHODS", None)
    if not isinstance(methods, dict) or not methods:
        raise ValueError(f"plugins: {path} must hold METHODS, a dictionary from names to classes")
    return methods
