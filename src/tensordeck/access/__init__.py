"""Who is calling and what they may do."""

from tensordeck.access.caller import Access, Caller

__all__ = ["Access", "Caller"]
