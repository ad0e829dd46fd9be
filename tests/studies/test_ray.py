"""Cells on a real Ray cluster: nodes that die, runs that are stopped, folders that a node does not see."""

import json
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import pytest

from benchmarks.faults.postgres import MissingPostgres, postgres
from benchmarks.faults.ray_cluster import HOST, is_within, ray_head
from benchmarks.faults.standin import FINISHED
from benchmarks.faults.study import study_cells, wrong
from studies.lease import holder
from studies.store import CHECKPOINT, Store
from tests.studies.running import environment, gmixout, killed_at_last, wait_for, write_study

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (gmixout[cluster])")
NODE = """
import sys, time
from ray._private.node import Node
from ray._private.parameter import RayParams
of_node = {"node_ip_address": "127.0.0.1", "num_cpus": 1, "include_log_monitor": False, "node_manager_port": 0}
of_node |= {"object_store_memory": 150 * 2**20, "min_worker_port": 0, "max_worker_port": 0}
how = RayParams(gcs_address=sys.argv[1], redis_address=sys.argv[1], **of_node)
how.dashboard_agent_listen_port = None
node = Node(how, head=False, shutdown_at_exit=True, spawn_reaper=True)
time.sleep(600)
"""
"""A node in a process of its own, as `Cluster.add_node` makes it in this one."""


@pytest.fixture(scope="module")
def cluster():
    """A head that runs one cell at a time; tests add nodes to it."""
    with ray_head() as found:
        yield found


def start_run(folder, *arguments, **variables):
    command = [sys.executable, "-m", "benchmarks.faults.study", str(folder), "--engine", "ray", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment() | variables,
        start_new_session=True,
    )


def held(store):
    """The cells that are worked on, with the process of each."""
    claims = {identity: holder(store.cell(identity).path) for identity in store.identities()}
    return {identity: int(claim["pid"]) for identity, claim in claims.items() if claim}


def test_instance_of_the_runs_own_runs_cells_and_sorts_their_failures(tmp_path):
    faults = ["diverged", "code_error"]
    with start_run(tmp_path, "--cells", 2, "--steps", 4, "--faults", *faults) as process, killed_at_last(process):
        output, _ = process.communicate(timeout=180)
    assert process.returncode == 1, output
    cells = study_cells(2, 4, 0.01, faults)
    assert wrong(tmp_path, cells[:2]) == []
    kinds = json.loads(output.splitlines()[-1])["failures"]
    assert [kinds[cell.identity] for cell in cells[2:]] == faults
    store = Store(tmp_path)
    assert "what the code printed before it failed" in store.cell(cells[3].identity).failure().log
    assert not list(tmp_path.glob(".ray-*"))


@pytest.mark.slow
def test_killed_node_costs_nothing_but_time(cluster, tmp_path):
    node = cluster.add_node(node_ip_address=HOST, num_cpus=1)
    store = Store(tmp_path)
    arguments = ("--cells", 6, "--steps", 30, "--step-s", 0.2, "--address", cluster.address, "--workers", 6)
    with start_run(tmp_path, *arguments) as process, killed_at_last(process):
        raylet = node.all_processes["raylet"][0].process.pid
        (victim,) = wait_for(lambda: [one for one, pid in held(store).items() if is_within(pid, raylet)])
        wait_for((store.cell(victim).path / CHECKPOINT).exists)
        cluster.remove_node(node, allow_graceful=False)
        output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert f"{victim} " in output
    assert "preempted" in output
    assert wrong(tmp_path, study_cells(6, 30, 0.2)) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_run_saves_gives_back_and_goes_on(cluster, tmp_path, number):
    store = Store(tmp_path)
    arguments = ("--cells", 3, "--steps", 30, "--step-s", 0.1, "--address", cluster.address, "--workers", 3)
    with start_run(tmp_path, *arguments, "--checkpoint-every-s", 1e9) as process, killed_at_last(process):
        (begun,) = wait_for(lambda: held(store))
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert held(store) == {}
    assert (store.cell(begun).path / CHECKPOINT).exists()
    with start_run(tmp_path, *arguments) as process, killed_at_last(process):
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert wrong(tmp_path, study_cells(3, 30, 0.1)) == []


@pytest.mark.slow
def test_study_has_the_same_bits_as_on_this_machine(cluster, finished, tmp_path):
    ended = gmixout("study", "run", "smoke", "--engine", "ray", "--address", cluster.address, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "this run: 7 cells done" in ended.stdout
    here, there = (Store(folder / "results" / "smoke") for folder in (finished[0], tmp_path))
    for identity in here.identities():
        for name in ("weights.sha256", "logits.safetensors"):
            one, other = (store.cell(identity).path / name for store in (here, there))
            assert one.exists() == other.exists()
            assert not one.exists() or one.read_bytes() == other.read_bytes(), (identity, name)


@pytest.mark.slow
def test_node_without_the_results_folder_is_refused(cluster, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no right to hide a folder from a process here")
    hidden = 'mount -t tmpfs none "$1" && exec "$2" -c "$3" "$4"'
    command = ["unshare", "--mount", "sh", "-c", hidden, "sh", str(results), sys.executable, NODE, cluster.address]
    before = len(alive(cluster))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as node, killed_at_last(node):
        wait_for(lambda: len(alive(cluster)) > before)
        with start_run(results, "--cells", 1, "--address", cluster.address) as process, killed_at_last(process):
            output, _ = process.communicate(timeout=120)
        node.terminate()
        wait_for(lambda: len(alive(cluster)) == before)
    assert process.returncode != 0
    assert "is another one on Ray's node" in output
    assert not (results / FINISHED).exists()
    assert [path.name for path in results.iterdir() if path.name.startswith(".ray-")] == []


@pytest.mark.slow
def test_password_of_the_database_is_not_told_to_ray(cluster, tmp_path):
    """Neither to tasks, whose arguments and logs Ray keeps in its session's folder, nor in the results folder."""
    try:
        with postgres() as server:
            arguments = ("--cells", 2, "--steps", 4, "--workers", 2, "--address", cluster.address)
            with start_run(tmp_path, *arguments, GMIXOUT_STORAGE=server.url) as process, killed_at_last(process):
                output, _ = process.communicate(timeout=120)
    except MissingPostgres as missing:
        pytest.skip(str(missing))
    assert process.returncode == 0, output
    assert wrong(tmp_path, study_cells(2, 4, 0.01)) == []
    session = Path(cluster.head_node.get_session_dir_path())
    files = [path for root in (session, tmp_path) for path in root.rglob("*") if path.is_file()]
    assert any(path.is_relative_to(session / "logs") for path in files)
    spelled = [word.encode() for word in (server.password, quote(server.password, safe=""))]
    assert [path for path in files if any(word in path.read_bytes() for word in spelled)] == []
    assert not any(word.decode() in output for word in spelled)


def alive(cluster):
    return [node for node in cluster.global_state.node_table() if node["Alive"]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--engine", "ray", "--gpus", "0"), "say how many a cell needs as execution.gpus"),
        (("--address", "auto"), "give --engine ray, got --engine local"),
        (("--engine", "ray", "--address", "ray://head:10001"), "start the run on one of its nodes"),
    ],
)
def test_wrong_command_is_refused_before_any_work(arguments, words, tmp_path):
    from tests.studies.running import here

    ended = here("study", "run", "smoke", "--results", str(tmp_path), *arguments)
    assert words in str(ended.exception)


@pytest.mark.slow
def test_cluster_that_is_not_there_and_cell_that_fits_nowhere(tmp_path):
    path = write_study(tmp_path, execution={"cpus": 4096})
    for arguments, words in (
        (("smoke", "--address", f"{HOST}:1"), "no Ray cluster answers at 127.0.0.1:1"),
        ((str(path),), "a cell needs 4096 CPU"),
    ):
        ended = gmixout("study", "run", *arguments, "--engine", "ray", cwd=tmp_path)
        assert ended.returncode == 2, ended.stdout + ended.stderr
        assert words in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
