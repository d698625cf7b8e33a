"""How much of a pool of database connections is in use."""

from sqlalchemy import Engine, QueuePool

from tensordeck.telemetry.store_measures import PoolUse

__all__ = ["pool_use"]


def pool_use(engine: Engine) -> PoolUse:
    """Asks an engine's pool, which neither waits nor connects."""
    pool = engine.pool
    if not isinstance(pool, QueuePool):
        return PoolUse(used=0, idle=0, limit=0)
    # SQLAlchemy has no public name for the overflow that a pool may have.
    limit = pool.size() + max(0, pool._max_overflow)  # noqa: SLF001
    return PoolUse(used=pool.checkedout(), idle=pool.checkedin(), limit=limit)
