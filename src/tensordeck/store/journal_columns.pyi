from collections.abc import Set as AbstractSet

from tensordeck.store.contract import Floats, Ints
from tensordeck.store.journal_numpy import Gathered, Row, Shortened

def shorten(steps: Ints, wall_ns: Ints, values: Floats, chunk: int) -> Shortened: ...
def gather(rows: list[Row], wanted: AbstractSet[int] | None) -> Gathered: ...
