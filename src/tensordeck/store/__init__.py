"""Where state rests: catalog (resources), points (time series) and blobs, with no protobuf."""

from typing import TYPE_CHECKING

from tensordeck.settings import Settings
from tensordeck.store.contract import Store

if TYPE_CHECKING:
    from tensordeck.store.contract import Blobs
    from tensordeck.store.database import Database

__all__ = ["Store", "open_store"]


def open_store(settings: Settings) -> Store:
    """Opens the store that the settings name; an embedded one is made when it is missing.

    The schema is brought up to this version's before the return.

    Raises:
        errors.FailedPrecondition: If the database is damaged, can't be opened, or was written by
            a newer version.
    """
    # The modules below bring SQLAlchemy, numpy and obstore in: whoever only needs the contract's
    # types should not pay for them.
    from tensordeck.store.blobs import open_blobs  # noqa: PLC0415
    from tensordeck.store.catalog import SqlCatalog  # noqa: PLC0415
    from tensordeck.store.database import open_database  # noqa: PLC0415
    from tensordeck.store.measured_blobs import MeasuredBlobs  # noqa: PLC0415
    from tensordeck.store.points import SqlPoints  # noqa: PLC0415

    database = open_database(settings)
    try:
        points = SqlPoints(database)
        blobs = MeasuredBlobs(open_blobs(settings), database.measures.blobs)
    except BaseException:
        database.close()
        raise

    def close() -> None:
        if replica:
            replica.close()
        points.close()
        database.close()

    catalog = SqlCatalog(database)
    replica = _open_replica(settings, database, blobs) if settings.read_replica_url else None
    return Store(catalog, points, blobs, close, database.measures, replica)


def _open_replica(settings: Settings, primary: "Database", blobs: "Blobs") -> Store:
    """The store as a streaming replica has it. Raises as `open_store`."""
    from tensordeck.store.catalog import SqlCatalog  # noqa: PLC0415 -- as above
    from tensordeck.store.folder import NEVER  # noqa: PLC0415
    from tensordeck.store.points import SqlPoints  # noqa: PLC0415
    from tensordeck.store.replica_reads import ReplicaReads  # noqa: PLC0415

    database = ReplicaReads(
        primary,
        settings.read_replica_url,
        connections=settings.database_connections,
        statement_seconds=settings.statement_seconds,
    )
    points = SqlPoints(database, schedule=NEVER)  # folding is the primary's

    def close() -> None:
        points.close()
        database.close()

    return Store(SqlCatalog(database), points, blobs, close, primary.measures)
