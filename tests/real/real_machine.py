"""An Odoo that may be broken: the scripts that start, stop, kill it and speak SQL to its database."""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

SCRIPTS = Path(os.environ.get("ODOO_SCRIPTS") or Path(__file__).parents[3] / "shared" / "odoo")


def why_not() -> str | None:
    """Return why no Odoo may be broken here, None when one may be.

    The scripts take ODOO_HOME and ODOO_PORT from the environment. Without ODOO_HOME it would be the Odoo that all use
    who work on this machine.
    """
    if not os.environ.get("ODOO_HOME"):
        return "ODOO_HOME does not name an Odoo that may be stopped and killed"
    if not (SCRIPTS / "odoo-up").is_file():
        return f"{SCRIPTS} has no odoo-up (ODOO_SCRIPTS says where the scripts are)"
    return None if os.geteuid() == 0 else "odoo-up needs root"


class Machine:
    """The Odoo in ODOO_HOME with its PostgreSQL."""

    def up(self) -> str:
        """Start what does not run and return the base URL when all of it answers."""
        said = self._run("odoo-up")
        return next(line.partition("=")[2] for line in said.splitlines() if line.startswith("url="))

    def down(self, how: str) -> None:
        """Stop it: ``--odoo`` in an orderly way, ``--hard`` by SIGKILL, ``--db`` PostgreSQL alone."""
        self._run("odoo-down", how)

    def sql(self, statement: str) -> str:
        """Return what PostgreSQL answers."""
        return self._run("odoo-up", "--sql", "-c", statement).strip()

    @contextmanager
    def locked(self, table: str, record_id: int):
        """Hold the lock of a row; every write to it waits until the end of the block."""
        command = [SCRIPTS / "odoo-up", "--sql"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            holder.stdin.write(f"BEGIN; SELECT id FROM {table} WHERE id={int(record_id)} FOR UPDATE;\n")
            holder.stdin.flush()
            assert holder.stdout.readline().strip() == str(record_id)
            try:
                yield
            finally:
                holder.stdin.write("ROLLBACK;\n")
                holder.stdin.close()

    def waiting(self) -> int:
        """Return how many of Odoo's transactions wait for a lock."""
        return int(self.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))

    def _run(self, script: str, *arguments: str) -> str:
        done = subprocess.run([SCRIPTS / script, *arguments], capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, f"{script} {' '.join(arguments)}: {done.stderr}"
        return done.stdout


def connections(port: int, processes: list[int]) -> int:
    """Return how many established connections to *port* of this host the *processes* hold."""
    held = {
        str(path.readlink()) for pid in processes for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()
    }
    lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    # A line may come twice while the table changes.
    theirs = {f"socket:[{fields[9]}]" for fields in lines if fields[2].endswith(f":{port:04X}") and fields[3] == "01"}
    return len(theirs & held)
