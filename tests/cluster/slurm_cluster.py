"""A throw-away Slurm cluster on this machine: munged, slurmctld and one slurmd a node, without systemd or cgroups.

For a cluster to try things on by hand, until Ctrl-C::

    python tests/cluster/slurm_cluster.py /tmp/cluster --nodes 2 --cpus 1 --memory 4000
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "setpriv")
DATABASE_PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db", "sacctmgr")
# The executor plugin starts `srun` in each job without the SLURM_ variables, so that SLURM_CONF is not enough.
DEFAULT_CONF = Path("/etc/slurm/slurm.conf")
FOLDER = "lhcml_slurm"
CONFIGURATION = """\
ClusterName=lhcml
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
# without cgroups: the memory of a job's processes is read every second, and a job above its request is killed
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,UsePss
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
KillWait=3
MinJobAge=3600
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
{accounting}
{nodes}
PartitionName=short Nodes=ALL Default=YES MaxTime=240 State=UP
PartitionName=long Nodes=ALL MaxTime=2880 State=UP
"""


@dataclass
class Cluster:
    """A running cluster.

    Parameters
    ----------
    folder : Path
        Its configuration, state and logs; `jobs.txt` has a line for each job that ended.
    nodes : tuple of str
        Names of the nodes.
    """

    folder: Path
    nodes: tuple[str, ...]
    environment: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *command: str) -> None:
        """Start a daemon in the foreground, its output in a file; it ends with this process."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment, start_new_session=True,
            )  # fmt: skip

    def stop(self, name: str, kill: bool = False) -> None:
        """Stop a daemon; `kill` leaves it no time to tell anyone."""
        daemon = self.daemons.pop(name)
        daemon.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            daemon.wait(timeout=10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def run(self, *command: str) -> str:
        """Run a client of the cluster, e.g. `squeue`, and return what it printed."""
        result = subprocess.run(command, env=self.environment, text=True, capture_output=True)
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()}")
        return result.stdout

    def jobs(self, *states: str) -> dict[str, str]:
        """Return number -> rule and wildcards of the jobs in some states, e.g. "RUNNING"."""
        lines = self.run("squeue", "--noheader", "--states", ",".join(states), "--format", "%i %k").splitlines()
        return dict(line.split(maxsplit=1) for line in lines)

    def ended(self) -> list[dict[str, str]]:
        """Return what Slurm noted of each job that ended: JobId, JobState, NodeList, ..., in that order."""
        notes = self.folder / "jobs.txt"
        lines = notes.read_text().splitlines() if notes.exists() else []
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]

    def start_controller(self) -> None:
        """Start slurmctld."""
        self.start("slurmctld", "slurmctld", "-D")

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self.start(node, "slurmd", "-D", "-N", node)

    def kill_processes(self, *marks: str) -> None:
        """Kill the processes of jobs of this cluster that have one of some words in their variables or command."""
        for process in Path("/proc").iterdir():
            text = variables_and_command(process) if process.name.isdigit() else ""
            if f"SLURM_CONF={self.folder}/slurm.conf" in text and any(mark in text for mark in marks):
                with suppress(ProcessLookupError):
                    os.kill(int(process.name), signal.SIGKILL)

    def lose_node(self, node: str) -> None:
        """Kill a node's daemon and all that its jobs run, and tell the controller, as its time-out would in minutes."""
        jobs = self.run("squeue", "--noheader", "--nodelist", node, "--format", "%A").split()
        self.stop(node, kill=True)
        self.kill_processes(f"SLURMD_NODENAME={node}", *(f"slurmstepd: [{job}." for job in jobs))
        self.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=lost")

    def bring_back(self, node: str) -> None:
        """Start a lost node again; it is back in service when it has told the controller (ReturnToService)."""
        self.start_node(node)
        wait_for(lambda: "DOWN" not in self.run("scontrol", "show", "node", node), 120, f"{node} back in service")

    def is_idle(self) -> bool:
        """Tell whether all nodes are idle."""
        command = ["sinfo", "--noheader", "--Node", "--partition", "short", "--states", "idle", "--format", "%N"]
        result = subprocess.run(command, env=self.environment, text=True, capture_output=True)
        return set(result.stdout.split()) == set(self.nodes)


def variables_and_command(process: Path) -> str:
    """Return the variables and the command of a process in /proc; "" if it has ended."""
    try:
        return ((process / "environ").read_bytes() + (process / "cmdline").read_bytes()).decode(errors="replace")
    except OSError:
        return ""


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until a condition holds.

    Raises
    ------
    TimeoutError
        If it does not within some seconds.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


def missing_programs(accounting: bool = False) -> list[str]:
    """Return the programs of a cluster that are not installed."""
    programs = PROGRAMS + (DATABASE_PROGRAMS if accounting else ())
    return [name for name in programs if shutil.which(name) is None]


def has_own_slurm() -> bool:
    """Tell whether this machine has a Slurm; a link that a killed cluster of this module left behind is none."""
    if DEFAULT_CONF.is_symlink() and (target := DEFAULT_CONF.readlink()).parent.name == FOLDER:
        pid = target.with_name("slurmctld.pid")
        return pid.exists() and Path(f"/proc/{pid.read_text().strip()}").exists()
    return DEFAULT_CONF.exists()


def free_ports(count: int) -> list[int]:
    """Return TCP ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def start_accounting(cluster: Cluster, port: int) -> None:
    """Start MariaDB and slurmdbd, and make an account of root."""
    folder, secret = cluster.folder, "cluster"
    database, sock = folder / "database", folder / "database.sock"
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={database}", "--user=root",
         "--auth-root-authentication-method=normal"], check=True, capture_output=True,
    )  # fmt: skip
    cluster.start(
        "mariadbd", "mariadbd", "--no-defaults", f"--datadir={database}", "--user=root", "--skip-networking",
        f"--socket={sock}", f"--pid-file={folder}/mariadbd.pid", "--innodb-buffer-pool-size=64M",
        "--innodb-lock-wait-timeout=900",
    )  # fmt: skip
    wait_for(sock.exists, 120, "MariaDB")
    grant = f"create user slurm@localhost identified by '{secret}'; grant all on slurm_acct_db.* to slurm@localhost"
    subprocess.run(["mysql", "--no-defaults", "-S", str(sock), "-uroot", "-e", grant], check=True, capture_output=True)
    configuration = folder / "slurmdbd.conf"
    configuration.write_text(
        f"AuthType=auth/munge\nAuthInfo=socket={folder}/munge.sock\nDbdHost=localhost\nDbdPort={port}\n"
        f"SlurmUser=root\nPidFile={folder}/slurmdbd.pid\nStorageType=accounting_storage/mysql\nStorageUser=slurm\n"
        f"StoragePass={secret}\nStorageLoc=slurm_acct_db\nStorageHost=localhost\n"
    )
    configuration.chmod(0o600)
    cluster.environment["MYSQL_UNIX_PORT"] = str(sock)
    cluster.start("slurmdbd", "slurmdbd", "-D")

    def answers() -> bool:
        command = ["sacctmgr", "--noheader", "list", "cluster"]
        return subprocess.run(command, env=cluster.environment, capture_output=True).returncode == 0

    wait_for(answers, 60, "slurmdbd")
    for what in (["cluster", "lhcml"], ["account", "analysis"], ["user", "root", "account=analysis"]):
        cluster.run("sacctmgr", "--immediate", "add", *what)


@contextmanager
def slurm_cluster(
    folder: Path, nodes: int = 2, cpus: int = 1, memory: int = 4000, accounting: bool = False
) -> Iterator[Cluster]:
    """Start a cluster, and stop it and its jobs when the block ends.

    Parameters
    ----------
    folder : Path
        Folder in which it gets a new one, `lhcml_slurm`, for everything of the cluster.
    nodes, cpus : int
        Nodes, all on this machine, and processors of each as Slurm counts them.
    memory : int
        Memory of a node in MB; not checked against the machine's.
    accounting : bool
        Also run slurmdbd, so that `sacct` works.

    Raises
    ------
    RuntimeError
        If this is not root, a program is missing, or this machine has a Slurm of its own.
    """
    if os.geteuid() != 0:
        raise RuntimeError("a cluster can be started by root only")
    if missing := missing_programs(accounting):
        raise RuntimeError(f"not installed: {', '.join(missing)}")
    if has_own_slurm():
        raise RuntimeError(f"{DEFAULT_CONF} exists: this machine has a Slurm, which is left alone")
    folder = folder.resolve() / FOLDER
    (folder / "state").mkdir(parents=True)
    folder.chmod(0o755)
    host = socket.gethostname().split(".")[0]
    ports = free_ports(nodes + 2)
    names = tuple(f"n{i + 1}" for i in range(nodes))
    lines = [
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory={memory}"
        for name, port in zip(names, ports[2:], strict=True)
    ]
    storage = "AccountingStorageType=accounting_storage/none"
    if accounting:
        storage = (
            "AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=localhost\n"
            f"AccountingStoragePort={ports[1]}\nAccountingStoragePass={folder}/munge.sock"
        )
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(host=host, port=ports[0], folder=folder, nodes="\n".join(lines), accounting=storage)
    )
    key = folder / "munge/key"
    key.parent.mkdir(mode=0o700)
    key.write_bytes(os.urandom(64))
    key.chmod(0o400)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
    cluster = Cluster(folder, names, environment | {"SLURM_CONF": str(configuration)})
    DEFAULT_CONF.parent.mkdir(exist_ok=True)
    DEFAULT_CONF.unlink(missing_ok=True)
    DEFAULT_CONF.symlink_to(configuration)
    try:
        cluster.start(
            "munged", "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.sock",
            f"--pid-file={folder}/munge/pid", f"--log-file={folder}/munge/log", f"--seed-file={folder}/munge/seed",
        )  # fmt: skip
        wait_for((folder / "munge.sock").exists, 60, "munged")
        if accounting:
            start_accounting(cluster, ports[1])
        cluster.start_controller()
        for name in names:
            cluster.start_node(name)
        wait_for(cluster.is_idle, 120, f"idle nodes (see the logs in {folder})")
        yield cluster
    finally:
        subprocess.run(["scancel", "--user", "root"], env=cluster.environment, capture_output=True)
        for name in reversed(list(cluster.daemons)):
            cluster.stop(name)
        cluster.kill_processes("SLURMD_NODENAME=", "slurmstepd: [")
        DEFAULT_CONF.unlink(missing_ok=True)


def main() -> None:
    """Start a cluster and wait for Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the folder of the cluster is made")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=1, help="processors of a node")
    parser.add_argument("--memory", type=int, default=4000, help="memory of a node in MB")
    parser.add_argument("--accounting", action="store_true", help="with slurmdbd, so that sacct works")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        suppress(KeyboardInterrupt),
        slurm_cluster(args.folder, args.nodes, args.cpus, args.memory, args.accounting) as cluster,
    ):
        print(f"export SLURM_CONF={cluster.folder}/slurm.conf   # Ctrl-C here stops the cluster", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
