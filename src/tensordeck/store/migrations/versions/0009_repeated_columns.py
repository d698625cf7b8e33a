"""Journal rows may write once what the series of a request share, which older versions can't read.

Nothing in the schema changes; its number keeps those versions from the store.
"""

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Does nothing: rows that are there stay readable as they are."""
