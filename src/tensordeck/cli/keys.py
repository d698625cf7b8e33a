"""`tensordeck keys`: service account keys, for programs and machines other than the owner's."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tensordeck.cli.opened_store import opened_access
from tensordeck.cli.settings_options import DatabaseUrl, DataDir
from tensordeck.cli.text_table import aligned
from tensordeck.errors import FailedPrecondition

__all__ = ["application"]

application = typer.Typer(
    help="Create, list and revoke service account keys.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@application.command("create")
def create(
    email: Annotated[
        str,
        typer.Argument(
            metavar="EMAIL",
            help="The account's address, or a bare name such as `trainer`.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Where to write it.  [default: ./KEY_ID.json]"
        ),
    ] = None,
    project: Annotated[
        str, typer.Option(metavar="ID", help="The project that the file names.")
    ] = "tensordeck",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a key file that Google's clients take for a service account's.

    The file is the only place that has the private key. Point GOOGLE_APPLICATION_CREDENTIALS,
    or `tensordeck exec --credentials`, at it.
    """
    if output is not None and output.exists():
        raise FailedPrecondition(
            f"{output} exists already; remove it or name another file with -o."
        )
    with opened_access(data_dir, database_url) as (access, _):
        key = access.create_service_account_key(email, project)
        path = output or Path(f"{key['private_key_id']}.json")
        try:
            _write_private(path, json.dumps(key, indent=2) + "\n")
        except OSError as error:
            # Nobody has the private key now, so the record is of no use.
            access.revoke(key["private_key_id"])
            raise FailedPrecondition(f"{path} can't be written: {error.strerror}.") from error
    print(f"Wrote key {key['private_key_id']} of {key['client_email']} to {path}.")


@application.command("list")
def list_keys(
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List credentials: the owner's and service account keys."""
    with opened_access(data_dir, database_url) as (access, _):
        rows = [
            {
                "id": info.id,
                "kind": info.kind,
                "email": info.principal,
                "created": _iso(info.create_time),
                "state": "revoked" if info.revoked else "active",
            }
            for info in access.list_credentials()
        ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = [["ID", "KIND", "EMAIL", "CREATED", "STATE"], *(list(row.values()) for row in rows)]
    print("\n".join(aligned(table)))


@application.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` shows it.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """End a credential, and every token and session made from it.

    Revoking the owner's makes the server write a new one at its next start.
    """
    with opened_access(data_dir, database_url) as (access, _):
        access.revoke(key_id)
    print(f"Revoked {key_id}.")


def _iso(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _write_private(path: Path, text: str) -> None:
    """Writes a new file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
