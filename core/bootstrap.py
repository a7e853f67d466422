"""Composition root: builds the object graph from the settings."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field

from core import errors, schema_version
from core.circuits.circuits import Circuits
from core.config import catalog
from core.config.live_catalog import LiveCatalog
from core.database import Database
from core.dispatch.dispatcher import Dispatch
from core.dispatch.doorbell import Doorbell
from core.dispatch.waits.waits import Waits
from core.maintenance.sweep import Sweep
from core.notify.bus import Bus
from core.notify.signatures import Signatures
from core.prompts.prompts import Prompts
from core.quota.admission import Admission
from core.quota.ledger import Ledger
from core.quota.token_bucket import Credits
from core.responses.accept import ResponseAcceptor
from core.responses.create import Creation
from core.responses.large_contexts import LargeContexts
from core.responses.large_requests import LargeRequests
from core.responses.operations import Operations
from core.responses.read import Responses
from core.runs.attempts import Attempts
from core.runs.ends import Endings
from core.runs.workers import Workers
from core.settings import Settings
from core.streams.broadcaster import Broadcaster
from core.streams.streams import Streams
from core.streams.wait_slots import WaitSlots
from core.tenants.audit import Audit
from core.tenants.keys import Keys
from core.tenants.projects import Projects
from core.tenants.seals import Seals

POLL_THREADS = 64


class Schema:
    """Checks that this program can run on the schema of the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def check(self) -> None:
        """Check that this program can run on the schema.

        Raises:
            errors.SchemaMismatch: the schema is missing, older than this program requires, or newer than it supports.
            errors.StoreUnavailable: Postgres is unavailable.
        """
        schema_version.check(self._database)


@dataclass(frozen=True)
class Core:
    """The objects that the API, the worker and the command line may use."""

    settings: Settings
    live_catalog: LiveCatalog
    schema: Schema
    keys: Keys
    projects: Projects
    audit: Audit
    prompts: Prompts
    ledger: Ledger
    creation: Creation
    responses: Responses
    operations: Operations
    broadcaster: Broadcaster
    wait_slots: WaitSlots
    streams: Streams
    attempts: Attempts
    circuits: Circuits
    workers: Workers
    doorbell: Doorbell
    dispatch: Dispatch
    waits: Waits
    sweep: Sweep
    bus: Bus
    seals: Seals
    large_requests: LargeRequests = field(default_factory=LargeRequests)


def database_url(settings: Settings) -> str:
    """Return the URL of Postgres; raise `errors.BadSettings` if it is not set."""
    if settings.database_url is None:
        raise errors.BadSettings(
            "BACKBURNER_DATABASE_URL is not set, and `backburner up` is not running in this folder."
        )
    return settings.database_url.get_secret_value()


def redis_url(settings: Settings) -> str:
    """Return the URL of Redis or Valkey; raise `errors.BadSettings` if it is not set."""
    if settings.redis_url is None:
        raise errors.BadSettings("BACKBURNER_REDIS_URL is not set, and `backburner up` is not running in this folder.")
    url = settings.redis_url.get_secret_value()
    if url.startswith("rediss://") and "ssl_cert_reqs=" not in url:
        # Without this parameter redis-py requires a valid certificate, but Celery raises an error.
        url += f"{'&' if '?' in url else '?'}ssl_cert_reqs=required"
    return url


def _secret_key(settings: Settings) -> str | None:
    return settings.secret_key.get_secret_value() if settings.secret_key else None


@contextmanager
def open_core(settings: Settings, *, connections: int = 2) -> Iterator[Core]:
    """Build the object graph over one Postgres connection pool, and close all connections at the end of the block.

    Args:
        connections: maximum size of the Postgres connection pool.

    Raises:
        errors.BadSettings: a required setting is missing, or the configuration file is invalid.
    """
    live_catalog = LiveCatalog(settings.config, catalog.load(settings.config))
    with ExitStack() as stack:
        bus = stack.enter_context(closing(Bus(redis_url(settings), Signatures(_secret_key(settings)))))
        project_credits = stack.enter_context(closing(Credits(redis_url(settings))))
        doorbell = stack.enter_context(closing(Doorbell(redis_url(settings))))
        database = Database(database_url(settings), connections=connections, pooled=settings.database_pooled)
        stack.enter_context(closing(database))
        broadcaster = stack.enter_context(closing(Broadcaster(database, bus, follow_s=settings.follow_s)))
        database.open()
        yield _build_core(settings, live_catalog, database, bus, doorbell, project_credits, broadcaster)


def _build_core(
    settings: Settings,
    live_catalog: LiveCatalog,
    database: Database,
    bus: Bus,
    doorbell: Doorbell,
    project_credits: Credits,
    broadcaster: Broadcaster,
) -> Core:
    seals = Seals(_secret_key(settings))
    ledger = Ledger(database, project_credits, live_catalog)
    endings = Endings(database, bus)
    circuits = Circuits(database, max_open_s=settings.wait_between_s, failed_probe_delay_s=2 * settings.sweep_every_s)
    dispatch = Dispatch(database, doorbell, live_catalog, worker_seen_s=settings.worker_seen_s)
    contexts = LargeContexts()
    return Core(
        settings=settings,
        live_catalog=live_catalog,
        schema=Schema(database),
        keys=Keys(database, cache_s=settings.key_cache_s),
        projects=Projects(database),
        audit=Audit(database),
        prompts=Prompts(database, settings),
        ledger=ledger,
        creation=_build_creation(settings, live_catalog, database, dispatch, project_credits, seals, contexts),
        responses=Responses(database, endings, contexts),
        operations=Operations(database, dispatch, endings, live_catalog, settings),
        broadcaster=broadcaster,
        wait_slots=_build_wait_slots(settings, database, endings, broadcaster),
        streams=Streams(database, broadcaster),
        attempts=Attempts(database, endings, circuits, seals, lease_s=settings.lease_s),
        circuits=circuits,
        workers=Workers(database),
        doorbell=doorbell,
        dispatch=dispatch,
        waits=Waits(database, doorbell, dispatch),
        sweep=Sweep(database, dispatch, endings, ledger, settings),
        bus=bus,
        seals=seals,
    )


def _build_creation(
    settings: Settings,
    live_catalog: LiveCatalog,
    database: Database,
    dispatch: Dispatch,
    project_credits: Credits,
    seals: Seals,
    large_contexts: LargeContexts,
) -> Creation:
    acceptor = ResponseAcceptor(database, dispatch)
    admission = Admission(database, project_credits, dispatch.rules_for)
    return Creation(database, acceptor, admission, dispatch.rules_for, live_catalog, seals, settings, large_contexts)


def _build_wait_slots(settings: Settings, database: Database, endings: Endings, broadcaster: Broadcaster) -> WaitSlots:
    # Each waiting request occupies a thread. POLL_THREADS threads are reserved for requests that do not wait, such as
    # polls; slow uploads of request bodies may occupy at most half of the reserved threads.
    wait_count = max(1, settings.api_threads - POLL_THREADS)
    upload_count = max(1, (settings.api_threads - wait_count) // 2)
    return WaitSlots(database, endings, broadcaster, wait_count=wait_count, upload_count=upload_count)
