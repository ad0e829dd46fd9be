"""What all scripts share: the command line, one CSV a question and device with versions and date, and what is said."""

import argparse
import datetime
import importlib.metadata
import math
import pathlib
import platform
import re
import sys
from collections.abc import Mapping, Sequence

import pandas as pd
import torch

from benchmarks import stored
from benchmarks.budget import Budget, spoken


def options(
    question: str, arguments: Sequence[str] | None = None, seconds: Mapping[str, float] | None = None
) -> argparse.Namespace:
    """The command line that every script shares.

    Args:
        question: What the script answers, its docstring.
        arguments: The command line, or None for the process's own.
        seconds: What the script may take, under ``cpu``, ``cuda`` and ``quick``; any time without it.

    Returns:
        ``device`` (torch.device), ``plan`` (a key of ``seconds``), ``quick`` (bool), ``compiled`` (bool), ``out``
        (directory), ``budget`` (`Budget`, which starts now) and, left to each script, ``rounds`` and ``rivals``.
    """
    parser = argparse.ArgumentParser(description=question, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=["cpu", "cuda"], default=default)
    parser.add_argument("--quick", action="store_true", help="tiny networks and two rounds: does the script run?")
    parser.add_argument("--compiled", action="store_true", help="on a CPU, too, time compiled steps")
    parser.add_argument("--rounds", type=int, help="timed rounds, in place of the script's own number")
    parser.add_argument("--rivals", nargs="+", help="only these, by name")
    parser.add_argument("--seconds", type=float, help="time to spend, in place of the script's own")
    parser.add_argument("--out", type=pathlib.Path, help="directory of the CSV")
    chosen = parser.parse_args(arguments)
    refuse_missing(chosen.device)
    chosen.plan = "quick" if chosen.quick else chosen.device
    chosen.device = torch.device(chosen.device)
    chosen.out = chosen.out or (stored.QUICK_RESULTS if chosen.quick else stored.RESULTS)
    chosen.budget = Budget(chosen.seconds or (seconds or {}).get(chosen.plan, math.inf))
    if chosen.device.type == "cpu":
        torch.set_num_threads(1)
    return chosen


def refuse_missing(device: str) -> None:
    """Ends the program with what to do if a GPU is asked for and there is none."""
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit(
            f"no GPU: torch {torch.__version__} sees none. Check nvidia-smi, the driver and that this torch is a "
            "CUDA build; on this machine use --device cpu"
        )


def announce(question: str, chosen: argparse.Namespace) -> None:
    """Says what is about to happen and how long it may take."""
    say(question, f"on {device_name(chosen.device)}; takes at most about {spoken(chosen.budget.seconds)}")


def write(question: str, rows: Sequence[Mapping[str, object]], device: torch.device, out: pathlib.Path) -> pathlib.Path:
    """Writes a question's rows with where and when they were measured, and says where they are.

    Raises:
        ValueError: If the columns are not those of `benchmarks.stored`.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{question}-{device_slug(device)}.csv"
    table = pd.DataFrame(rows).assign(**provenance(device))
    columns = stored.COLUMNS[question]
    if set(table) != set(columns):
        raise ValueError(f"{question} has columns {sorted(set(table) ^ set(columns))} too many or too few")
    table[list(columns)].to_csv(path, index=False, float_format="%.5g")
    print(f"[{question}] {len(table)} rows in {path}", flush=True)
    return path


def provenance(device: torch.device) -> dict[str, str]:
    """Device, versions and date."""
    return {
        "device": device_name(device),
        "torch": torch.__version__,
        "triton": version("triton"),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def version(package: str) -> str:
    """An installed package's version, or nothing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def device_name(device: torch.device) -> str:
    """The GPU's name, or the CPU's with its instruction set and threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} CPU, {instructions}, {torch.get_num_threads()} thread"


def device_slug(device: torch.device) -> str:
    """A device's name for files.

    Example:
        >>> device_slug(torch.device("cpu"))
        'cpu'
    """
    if device.type == "cpu":
        return "cpu"
    return re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name(device).lower()).strip("-")


def progress(question: str, text: str) -> None:
    """Overwrites the line that says how far it is; a log gets a line of its own now and then."""
    if sys.stdout.isatty():
        print(f"\r\033[K[{question}] {text}", end="", flush=True)


def say(question: str, text: str) -> None:
    """A line that stays."""
    clear = "\r\033[K" if sys.stdout.isatty() else ""
    print(f"{clear}[{question}] {text}", flush=True)
