"""Opens a Ray cluster, or an instance of this machine's own, and looks whether its nodes can do a study's work."""

import logging
import os
import socket
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from studies.engines.hands import Hands, Hire
from studies.settings import Execution
from studies.store import ResultsError

PROBE_PATIENCE_S = 60.0
"""How long the nodes may take to answer before any work, in seconds."""
CONNECT_PATIENCE_S = 10.0
"""How long a cluster may take to accept a connection, in seconds."""
PASSED_ON = ("GMIXOUT_CACHE", "GMIXOUT_DATA", "GMIXOUT_WEIGHTS", "GMIXOUT_KERNELS")
"""Variables that workers on other machines need, too. The database's URL is not among them: it holds a password."""
_SLOW = "rfc3987_syntax"
"""Reads a grammar when imported, which takes seconds in each of Ray's processes; only checks of IRIs want it."""


@contextmanager
def on_ray(address: str | None, execution: Execution, root: Path) -> Iterator[Hire]:
    """A Ray cluster for one run; what gives the run its places there.

    Args:
        address: ``HOST:PORT`` of a cluster that this machine is part of, or ``auto``; None: an instance of its own,
            which listens on loopback alone and ends with the run.
        execution: What a cell needs.
        root: The results folder, which exists.

    Raises:
        ResultsError: If there is no Ray, no cluster, or a node that does not see the results folder.
    """
    if find_spec("ray") is None:
        raise ResultsError("--engine ray needs Ray, which is not installed: pip install 'gmixout[cluster]'")
    if address is not None and "://" in address:
        raise ResultsError(
            f"--address is HOST:PORT of a cluster that this machine is part of, or auto, got {address!r}: start the "
            "run on one of its nodes, since it writes the same results folder"
        )
    if address not in (None, "auto"):
        _require_answer(str(address))
    with quick_start() as ray, _connected(ray, address):
        beacon = root.absolute() / f".ray-{uuid.uuid4().hex[:12]}"
        try:
            beacon.write_text(uuid.uuid4().hex + "\n")
            _require_shared(ray, beacon)
            _require_room(ray, execution, is_own=address is None)
            environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}

            def hire(places: int, logs: Path) -> Hands:
                from studies.engines.ray_pool import RayPool

                return RayPool(places, logs, execution, beacon, environment)

            yield hire
        finally:
            beacon.unlink(missing_ok=True)


@contextmanager
def quick_start() -> Iterator[Any]:
    """Imports Ray, here and in the processes that it starts meanwhile, without what takes it seconds each time."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # On a busy machine its helpers need longer than the half minute that they have.
    os.environ.setdefault("RAY_agent_register_timeout_ms", "120000")
    before = os.environ.get("PYTHONPATH")
    with tempfile.TemporaryDirectory(prefix="gmixout-") as name:
        (Path(name) / f"{_SLOW}.py").write_text(f"raise ImportError('{_SLOW} is left out here')\n")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (name, before)))
        is_absent = _SLOW not in sys.modules
        if is_absent:
            sys.modules[_SLOW] = None  # type: ignore[assignment]
        try:
            import ray

            yield ray
        finally:
            if is_absent:
                del sys.modules[_SLOW]
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    quiet = {"configure_logging": False, "log_to_driver": False, "include_dashboard": False}
    if address is not None:
        del quiet["include_dashboard"]
    else:
        # By this, whatever it starts listens on loopback alone; ray.init reads it from its own module.
        ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    # What it tells on the way is no news to whoever waits for a study.
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        ray.init(address or "local", namespace=f"gmixout-{uuid.uuid4().hex[:12]}", **quiet)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        why = str(error).strip().splitlines()[0]
        where = f"no Ray cluster answers at {address}" if address else "Ray cannot be started here"
        raise ResultsError(f"{where}: {why}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_PATIENCE_S).close()
    except (OSError, ValueError) as error:
        raise ResultsError(
            f"no Ray cluster answers at {address} ({error}): give HOST:PORT as `ray start --head` has told, or auto"
        ) from None


def _require_shared(ray: Any, beacon: Path) -> None:
    """Every node writes a file beside the run's; the run reads it. Asked at once, so the slowest node decides."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from studies.engines.ray_task import look, version

    nodes = [node for node in ray.nodes() if node["Alive"]]
    answers = {node["NodeID"]: beacon.with_name(f"{beacon.name}-{number}") for number, node in enumerate(nodes)}
    task, how = ray.remote(look), {"num_cpus": 0, "max_retries": 0, "name": "look at the results folder"}
    asked = {
        identity: task.options(**how, scheduling_strategy=NodeAffinitySchedulingStrategy(identity, soft=False)).remote(
            beacon, answer
        )
        for identity, answer in answers.items()
    }
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=PROBE_PATIENCE_S)
    try:
        for node in nodes:
            name, problem = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})", ""
            try:
                found = ray.get(asked[node["NodeID"]], timeout=0)
            except ray.exceptions.NodeDiedError:
                continue
            except ray.exceptions.GetTimeoutError:
                raise ResultsError(f"Ray's node {name} does not answer within {PROBE_PATIENCE_S:g} s") from None
            except ray.exceptions.RayError as error:
                problem = str(error).strip().splitlines()[-1]
                raise ResultsError(f"Ray's node {name} cannot load gmixout: {problem}; install it there") from error
            if found != version():
                raise ResultsError(f"Ray's node {name} has gmixout {found}, this machine {version()}; install the same")
            answer = answers[node["NodeID"]]
            if not answer.exists() or answer.read_text() != beacon.read_text():
                raise ResultsError(
                    f"the results folder {beacon.parent} is another one on Ray's node {name}: give one that all nodes "
                    "share with --results"
                )
    finally:
        for answer in answers.values():
            answer.unlink(missing_ok=True)


def _require_room(ray: Any, execution: Execution, is_own: bool) -> None:
    """On this machine alone a cell that needs more than there is would wait for ever; a cluster may yet grow."""
    from studies.engines.ray_pool import demands

    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    wanted = {names[name]: amount for name, amount in demands(execution).items()}
    has_room = any(
        all(node["Resources"].get(name, 0) >= amount for name, amount in wanted.items())
        for node in ray.nodes()
        if node["Alive"]
    )
    if is_own and not has_room:
        told = ", ".join(f"{amount:g} {name}" for name, amount in wanted.items())
        raise ResultsError(f"a cell needs {told} (execution: cpus, gpus, memory_gb), and this machine has less")
