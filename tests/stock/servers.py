"""Prepares Debian's PostgreSQL, Redis and PgBouncer, with Debian's default settings and files in one folder."""

import getpass
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psycopg
import redis
from psycopg import sql
from redis.backoff import NoBackoff
from redis.retry import Retry

from local import ports
from local.home import Home
from local.processes import environment
from local.processes.child import Part

POSTGRES_VERSION = 15
PROGRAM_FOLDER = Path(f"/usr/lib/postgresql/{POSTGRES_VERSION}/bin")
CLUSTER = "stock"
ROLE = "backburner"
ADMIN = "admin"
REDIS_CONF = Path("/etc/redis/redis.conf")
PGBOUNCER_INI = Path("/etc/pgbouncer/pgbouncer.ini")
# Variables of the deployment's role, which are necessary because a pooled deployment sends no connection `options`
# (docs/pgbouncer.md).
TIMEOUTS = {"statement_timeout": "5s", "lock_timeout": "2s", "idle_in_transaction_session_timeout": "10s"}


def build_command_as_user(user: str, argv: Sequence[str], signal_name: str = "TERM") -> list[str]:
    """Return the command that runs `argv` as a system user with all of its groups; without root, return `argv` itself.

    A change of user clears the signal that a process gets when its parent ends, so `setpriv` requests the signal again.
    """
    if os.geteuid() != 0:
        return list(argv)
    switch = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", f"--pdeathsig={signal_name}"]
    return [*switch, "--", *argv]


def _create_owned_folder(folder: Path, user: str) -> Path:
    """Create the folder, owned by `user` if this process is root."""
    folder.mkdir(mode=0o755, exist_ok=True)
    if os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    return folder


def _copy_private_file(source: Path, target: Path, user: str) -> Path:
    """Copy a configuration file that only root and its service may read; only `user` may read the copy."""
    is_readable = os.access(source, os.R_OK)
    text = source.read_text() if is_readable else subprocess.check_output(["sudo", "-n", "cat", str(source)], text=True)
    target.write_text(text)
    target.chmod(0o600)
    if os.geteuid() == 0:
        shutil.chown(target, user)
    return target


def _accepts_connections(port: int) -> bool:
    """Whether a PostgreSQL or a PgBouncer accepts connections on the port."""
    command = [str(PROGRAM_FOLDER / "pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={port}", "--timeout=2"]
    return subprocess.run(command, check=False).returncode == 0


class Postgres:
    """A cluster that `pg_createcluster` creates; only its folders, port and roles differ from the defaults."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._owner = "postgres" if os.geteuid() == 0 else getpass.getuser()
        self.password = secrets.token_hex(16)
        self._configuration_folder = home.path / "etc"
        self._socket_folder = home.path / "sockets"
        self.port = ports.free_port()

    def url(self, database: str, role: str = ROLE) -> str:
        return f"postgresql://{role}:{self.password}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> Part:
        """Create the cluster; return the `Part` that runs the server."""
        data_folder = _create_owned_folder(self._home.path / "data", self._owner)
        _create_owned_folder(self._socket_folder, self._owner)
        _create_owned_folder(self._configuration_folder, self._owner)
        subprocess.run(
            [
                *("pg_createcluster", "--user", self._owner, "--datadir", str(data_folder), "--port", str(self.port)),
                *("--socketdir", str(self._socket_folder), "--logfile", str(self._home.logs / "createcluster.log")),
                *(str(POSTGRES_VERSION), CLUSTER),
            ],
            env={**environment.process_variables(), "PG_CLUSTER_CONF_ROOT": str(self._configuration_folder)},
            check=True,
            capture_output=True,
        )
        configuration_file = self._configuration_folder / str(POSTGRES_VERSION) / CLUSTER / "postgresql.conf"
        server = [str(PROGRAM_FOLDER / "postgres"), "-D", str(data_folder), "-c", f"config_file={configuration_file}"]
        return Part(
            name="postgres",
            argv=build_command_as_user(self._owner, server, "QUIT"),
            ready=lambda _pid: _accepts_connections(self.port),
            stop_signal=signal.SIGQUIT,  # an immediate stop without a checkpoint, because the data is discarded
            grace_s=30,
        )

    def create_roles(self) -> None:
        """Create the deployment's role, and a superuser for the statements of the tests."""
        statements = (
            f"create role {ROLE} login password '{self.password}'",
            f"create role {ADMIN} superuser login password '{self.password}'",
        )
        psql = [
            str(PROGRAM_FOLDER / "psql"),
            "--quiet",
            "--no-psqlrc",
            f"--host={self._socket_folder}",
            f"--port={self.port}",
        ]
        commands = [f"--command={statement}" for statement in statements]
        subprocess.run(
            build_command_as_user(self._owner, [*psql, "--dbname=postgres", *commands]),
            check=True,
            capture_output=True,
            cwd="/",
        )

    def set_role_variables(self, database: str, variables: Mapping[str, str]) -> None:
        """Set variables of the deployment's role in one database, for new sessions."""
        with psycopg.connect(self.url("postgres", ADMIN), autocommit=True) as connection:
            for name, value in variables.items():
                connection.execute(
                    sql.SQL("alter role {} in database {} set {} = {}").format(
                        sql.Identifier(ROLE), sql.Identifier(database), sql.SQL(name), sql.Literal(value)
                    )
                )

    def read_setting(self, name: str) -> str:
        """Return the value of a variable in a new session."""
        with psycopg.connect(self.url("postgres")) as connection:
            row = connection.execute("select current_setting(%s)", (name,)).fetchone()
        assert row is not None
        return str(row[0])

    def create_database(self, name: str, template: str = "template1") -> None:
        """Create a database owned by the deployment's role."""
        with psycopg.connect(self.url("postgres", ADMIN), autocommit=True) as connection:
            connection.execute(
                sql.SQL("create database {} owner {} template {}").format(
                    sql.Identifier(name), sql.Identifier(ROLE), sql.Identifier(template)
                )
            )


class Redis:
    """A Redis with Debian's `redis.conf`; only its port, folder, log and PID file differ from the defaults."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = ports.free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def prepare(self) -> Part:
        """Create the folder of the server; return the `Part` that runs the server."""
        folder = _create_owned_folder(self._folder, "redis")
        configuration_file = _copy_private_file(REDIS_CONF, folder / "redis.conf", "redis")
        options = {"port": str(self.port), "dir": str(folder), "pidfile": str(folder / "redis.pid"), "logfile": '""'}
        arguments = [argument for name, value in options.items() for argument in (f"--{name}", value)]
        return Part(
            name="redis",
            argv=build_command_as_user(
                "redis", ["redis-server", str(configuration_file), *arguments, "--daemonize", "no"]
            ),
            ready=lambda _pid: self._is_reachable(),
        )

    def _is_reachable(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False


class PgBouncer:
    """A PgBouncer with Debian's `pgbouncer.ini` in transaction mode, in front of one `Postgres`."""

    def __init__(self, home: Home, postgres: Postgres) -> None:
        self._home = home
        self._postgres = postgres
        self.port = ports.free_port()

    def url(self, database: str) -> str:
        return self._postgres.url(database).replace(f":{self._postgres.port}/", f":{self.port}/")

    def prepare(self) -> Part:
        """Write the configuration of the server; return the `Part` that runs the server."""
        folder = _create_owned_folder(self._home.path / "pgbouncer", "postgres")
        users_file = folder / "userlist.txt"
        users_file.write_text(f'"{ROLE}" "{self._postgres.password}"\n')
        options = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": folder,
            "pidfile": folder / "pgbouncer.pid",
            "logfile": "",
            "auth_file": users_file,
            "pool_mode": "transaction",
        }
        configuration_file = _copy_private_file(PGBOUNCER_INI, folder / "pgbouncer.ini", "postgres")
        text = configuration_file.read_text()
        text = text.replace("\n[databases]\n", f"\n[databases]\n* = host=127.0.0.1 port={self._postgres.port}\n", 1)
        # The last value of a name applies, so these lines override the values of the package.
        overrides = "".join(f"{name} = {value}\n" for name, value in options.items())
        configuration_file.write_text(f"{text}\n[pgbouncer]\n{overrides}")
        return Part(
            name="pgbouncer",
            argv=build_command_as_user("postgres", ["pgbouncer", str(configuration_file)]),
            ready=lambda _pid: _accepts_connections(self.port),
        )
