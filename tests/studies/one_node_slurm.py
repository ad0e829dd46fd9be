"""A real SLURM with one node, on loopback alone, from a folder of its own."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.studies.running import wait_for

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "srun", "scontrol", "sinfo")


class MissingSlurm(RuntimeError):
    """The machine has no SLURM, or not the right to run one."""


@contextmanager
def one_node_slurm() -> Iterator[dict[str, str]]:
    """Runs it; gives what its commands need in the environment.

    Raises:
        MissingSlurm: If it cannot be had.
    """
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise MissingSlurm(f"no {', '.join(missing)} here: install SLURM (on Debian: slurm-wlm and munge)")
    if os.geteuid() != 0:
        raise MissingSlurm("SLURM's node daemon runs as root only")
    with tempfile.TemporaryDirectory(prefix="gmixout-slurm-") as name, ExitStack() as stack:
        folder = Path(name)
        # Munge wants to be sure that nobody else can write above its socket.
        folder.chmod(0o755)
        _write_key(folder / "munge.key")
        (folder / "slurm.conf").write_text(_settings(folder))
        environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        munge = [f"--{file}-file={folder / f'munge.{file}'}" for file in ("key", "pid", "log", "seed")]
        socket_file = folder / "munge.socket"
        for command in (
            ["munged", "--foreground", "--force", f"--socket={socket_file}", *munge],
            ["slurmctld", "-D", "-i"],
            ["slurmd", "-D"],
        ):
            with open(folder / f"{command[0]}.out", "w") as out:
                daemon = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
            stack.callback(_end, daemon)
            if command[0] == "munged":
                wait_for(socket_file.exists, 30)
        asked = ["sinfo", "--noheader", "--format=%t"]
        wait_for(lambda: "idle" in subprocess.run(asked, capture_output=True, text=True, env=environment).stdout)
        stack.callback(_cancel_all, environment)
        yield {"SLURM_CONF": environment["SLURM_CONF"]}


def _cancel_all(environment: dict[str, str]) -> None:
    """Its jobs would outlive it."""
    subprocess.run(["scancel", "--user=root"], env=environment, check=True)
    listed = ["squeue", "--noheader"]
    wait_for(lambda: not subprocess.run(listed, capture_output=True, text=True, env=environment).stdout.strip())


def _settings(folder: Path) -> str:
    host = socket.gethostname().partition(".")[0]
    settings = {
        "ClusterName": "one",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmUser": "root",
        "SlurmctldPort": _free_port(),
        "SlurmdPort": _free_port(),
        "CommunicationParameters": "NoCtldInAddrAny,NoInAddrAny",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={folder / 'munge.socket'}",
        "CredType": "cred/munge",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core",
        "MpiDefault": "none",
        "ReturnToService": 2,
        "StateSaveLocation": folder,
        "SlurmdSpoolDir": folder / "spool",
        "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": folder / "slurmd.pid",
        "SlurmctldLogFile": folder / "slurmctld.log",
        "SlurmdLogFile": folder / "slurmd.log",
        "NodeName": f"{host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} State=UNKNOWN",
        "PartitionName": "all Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _write_key(path: Path) -> None:
    path.write_bytes(secrets.token_bytes(1024))
    path.chmod(0o400)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _end(daemon: subprocess.Popen) -> None:
    daemon.terminate()
    try:
        daemon.wait(15)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
