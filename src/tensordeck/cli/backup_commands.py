"""`tensordeck backup`, `restore`, `verify` and `migrate`: stores kept safe, and moved."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tensordeck.cli.settings_options import DatabaseUrl, DataDir
from tensordeck.cli.text_table import aligned
from tensordeck.errors import DataLoss, FailedPrecondition, InvalidArgument
from tensordeck.settings import Settings

if TYPE_CHECKING:
    from tensordeck.moving.comparing import Comparison

__all__ = ["backup", "migrate", "restore", "verify"]

ObjectStore = Annotated[
    str | None,
    typer.Option(
        "--object-store",
        envvar="TENSORDECK_OBJECT_STORE",
        metavar="URL",
        help="Where blobs lie, if not in the data directory: file://, s3://, gs:// or az://.",
    ),
]
Scratch = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="A folder with room for the database's rows while this runs.",
    ),
]


def backup(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A file, or a prefix of an object store: s3://, gs://, az:// or file://.",
        ),
    ],
    without_credentials: Annotated[
        bool,
        typer.Option(
            "--without-credentials",
            help="Leave keys, the signing secret, the owner's credential and the certificates out.",
        ),
    ] = False,
    scratch: Scratch = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    object_store: ObjectStore = None,
) -> None:
    """Write one moment of a store into a file or an object store, while servers use it.

    It holds everything that is in the database, and the objects that this refers to. Whoever can
    read it can act as any of the server's users, unless credentials are left out.
    """
    from tensordeck.cli.copy_progress import in_bytes, shown_progress
    from tensordeck.moving.backup import back_up

    os.umask(0o077)
    settings = _settings(data_dir, database_url, object_store)
    with shown_progress() as progress:
        manifest = back_up(
            settings,
            target,
            scratch=scratch,
            without_credentials=without_credentials,
            progress=progress,
        )
    print(
        f"Backed up {manifest.source} as of {manifest.time}: {sum(manifest.rows.values()):,} rows "
        f"({in_bytes(manifest.database.size)}), {manifest.blobs:,} blobs "
        f"({in_bytes(manifest.blob_bytes)}) to {target}."
    )
    _tell_losses(manifest.lost, "The backup")


def restore(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="What `tensordeck backup` wrote.")
    ],
    scratch: Scratch = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    object_store: ObjectStore = None,
) -> None:
    """Make a store out of a backup, in an empty place and in any database.

    All of the backup is checked before anything is written. Cut off, the same command goes on
    where it stopped; no server starts on a part.
    """
    from tensordeck.cli.copy_progress import shown_progress
    from tensordeck.moving.backup import restore as restored_from

    os.umask(0o077)
    settings = _settings(data_dir, database_url, object_store)
    with shown_progress() as progress:
        done = restored_from(source, settings, scratch=scratch, progress=progress)
    _print_comparison(done.comparison)
    print(f"Restored {done.target} to {done.manifest.time}.")
    _tell_losses(done.losses.told(), "The backup")


def verify(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[BACKUP]", help="A backup to check instead of a store."),
    ] = None,
    scratch: Scratch = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    object_store: ObjectStore = None,
) -> None:
    """Read all of a store, or of a backup, and compare every checksum.

    Servers may use the store meanwhile. What is damaged is listed, and the command ends with
    status 1.
    """
    from tensordeck.cli.copy_progress import in_bytes, shown_progress

    os.umask(0o077)
    if source is not None:
        from tensordeck.moving.backup import check_backup

        with shown_progress() as progress:
            manifest = check_backup(source, scratch=scratch, progress=progress)
        print(
            f"{source} is whole: {manifest.source} as of {manifest.time}, "
            f"{sum(manifest.rows.values()):,} rows, {manifest.blobs:,} blobs "
            f"({in_bytes(manifest.blob_bytes)})."
        )
        return
    from tensordeck.moving.verification import verify as verified

    with shown_progress() as progress:
        found = verified(_settings(data_dir, database_url, object_store), progress)
    for damage in found.damage:
        print(f"{damage.where}: {damage.what}")
    print(
        f"Read {found.rows:,} rows, {found.points:,} points and {found.blobs:,} blobs "
        f"({in_bytes(found.blob_bytes)}) of {found.store}."
    )
    if found.damage:
        sys.stdout.flush()
        raise DataLoss(f"{len(found.damage):,} places of {found.store} are damaged.")


def migrate(
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="A data directory, or postgresql://USER@HOST/DATABASE.",
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option("--to", metavar="PLACE", help="An empty one of the same."),
    ] = None,
    object_store: Annotated[
        str | None,
        typer.Option(
            "--object-store",
            metavar="URL",
            help="Where blobs go.  [default: the data directory, where the target is one]",
        ),
    ] = None,
    from_object_store: Annotated[
        str | None,
        typer.Option(
            "--from-object-store",
            metavar="URL",
            help="Where blobs are.  [default: the data directory, where the source is one]",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            help="The data directory of a server on PostgreSQL, old or new: the owner's credential "
            "and the certificate authority go with the store.",
        ),
    ] = None,
    release: Annotated[
        bool,
        typer.Option("--release", help="Let a source that was moved take writes again."),
    ] = False,
) -> None:
    """Move a store to another database and object store while servers use it.

    At the end writes to the source are stopped for good, what came last is copied, and both sides
    are compared row by row. Cut off, the same command goes on where it stopped.
    """
    from tensordeck.cli.copy_progress import in_bytes, shown_progress
    from tensordeck.moving import migration

    os.umask(0o077)
    old = _place(source, from_object_store, "--from-object-store")
    if release:
        if target is not None:
            raise InvalidArgument("--release takes --from alone.")
        was = migration.release(old)
        print(f"{source} takes writes again." if was else f"{source} takes writes, as before.")
        return
    if target is None:
        raise InvalidArgument("Name the place to move to with --to.")
    new = _place(target, object_store, "--object-store")
    with shown_progress() as progress:
        done = migration.migrate(
            old,
            new,
            data_dirs=_data_dirs(old, new, data_dir),
            progress=progress,
        )
    _print_comparison(done.comparison)
    blobs = (
        "blobs stay where they are"
        if done.blobs is None
        else f"{done.blobs:,} blobs ({in_bytes(done.blob_bytes)}) copied and read back"
    )
    print(
        f"Moved {done.source} to {done.target}: all rows of {done.comparison.runs:,} runs are "
        f"alike, {blobs}. Writes were stopped for {done.stopped_seconds:.1f} s before the target "
        "was ready; the source takes none from now on."
    )
    if done.open_jobs:
        print(
            f"{done.open_jobs:,} training jobs have not ended: a server with the old data "
            "directory must take them up (--data-dir)."
        )
    _tell_losses(done.losses.told(), "The source")


def _settings(
    data_dir: Path | None, database_url: str | None, object_store: str | None
) -> Settings:
    found = Settings.load(
        {"data_dir": data_dir, "database_url": database_url, "object_store": object_store}
    )
    # Nothing else: a replica, for one, may lag behind what was acknowledged.
    return Settings(
        data_dir=found.data_dir, database_url=found.database_url, object_store=found.object_store
    )


def _place(place: str, object_store: str | None, option: str) -> Settings:
    """The settings of a store that one text names."""
    if "://" not in place:
        return Settings(data_dir=Path(place), object_store=object_store or "")
    if not object_store:
        raise InvalidArgument(f"{option}: say where the blobs of {_named(place)} lie.")
    return Settings(database_url=place, object_store=object_store)


def _data_dirs(old: Settings, new: Settings, given: Path | None) -> tuple[Path, Path] | None:
    """The data directories of both sides; None where one of them is not known."""
    one, other = (given if settings.database_url else settings.data_dir for settings in (old, new))
    return (one, other) if one is not None and other is not None and one != other else None


def _named(url: str) -> str:
    """A database's URL without its password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _print_comparison(comparison: "Comparison") -> None:
    """One line a table that is not empty: its rows and checksums on both sides."""
    rows = [
        [
            table.name,
            f"{table.source_rows:,}",
            f"{table.target_rows:,}",
            table.source_checksum,
            table.target_checksum,
        ]
        for table in comparison.tables
        if table.source_rows
    ]
    heading = ["TABLE", "ROWS", "COPIED", "CHECKSUM", "OF THE COPY"]
    print("\n".join(aligned([heading, *rows])))


def _tell_losses(lost: str, where: str) -> None:
    """Ends the command with status 1 if something had been lost before."""
    if lost:
        sys.stdout.flush()
        raise FailedPrecondition(f"{where} is complete but for {lost}: that was lost before.")
