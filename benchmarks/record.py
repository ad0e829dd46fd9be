"""Where results go: one CSV a question and device, every row with its device, versions and date."""

import argparse
import datetime
import importlib.metadata
import pathlib
import platform
import re
import sys
from collections.abc import Mapping, Sequence

import pandas as pd
import torch

HERE = pathlib.Path(__file__).resolve().parent
RESULTS, FIGURES = HERE / "results", HERE / "figures"
# Short runs never touch the measured results.
QUICK_RESULTS = HERE.parent / "build" / "benchmarks"


def options(question: str, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line that every script shares.

    Args:
        question: What the script answers, its docstring.
        arguments: The command line, or None for the process's own.

    Returns:
        ``device`` (torch.device), ``quick`` (bool), ``compiled`` (bool), ``out`` (directory) and, left to each script,
        ``rounds`` and ``rivals``.
    """
    parser = argparse.ArgumentParser(description=question, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=["cpu", "cuda"], default=default)
    parser.add_argument("--quick", action="store_true", help="a tiny network and two rounds: does the script run?")
    parser.add_argument("--compiled", action="store_true", help="on a CPU, too, time compiled steps")
    parser.add_argument("--rounds", type=int, help="timed rounds, in place of the script's own number")
    parser.add_argument("--rivals", nargs="+", help="only these, by name")
    parser.add_argument("--out", type=pathlib.Path, help="directory of the CSV")
    chosen = parser.parse_args(arguments)
    if chosen.device == "cuda" and not torch.cuda.is_available():
        sys.exit(
            "no GPU: torch " + torch.__version__ + " sees none. Check nvidia-smi, the driver and that this torch is a "
            "CUDA build; on this machine use --device cpu"
        )
    chosen.device = torch.device(chosen.device)
    chosen.out = chosen.out or (QUICK_RESULTS if chosen.quick else RESULTS)
    if chosen.device.type == "cpu":
        torch.set_num_threads(1)
    return chosen


def write(question: str, rows: Sequence[Mapping[str, object]], device: torch.device, out: pathlib.Path) -> pathlib.Path:
    """Writes a question's rows with where and when they were measured, and says where they are."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{question}-{device_slug(device)}.csv"
    table = pd.DataFrame(rows).assign(**provenance(device))
    table.to_csv(path, index=False, float_format="%.5g")
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
