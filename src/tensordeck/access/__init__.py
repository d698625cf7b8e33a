"""Who is calling and what they may do."""

from tensordeck.access.caller import Access, Caller
from tensordeck.access.local import (
    SESSION_COOKIE,
    SESSION_SECONDS,
    CredentialInfo,
    GrantRefused,
    LocalAccess,
    open_access,
)

__all__ = [
    "SESSION_COOKIE",
    "SESSION_SECONDS",
    "Access",
    "Caller",
    "CredentialInfo",
    "GrantRefused",
    "LocalAccess",
    "open_access",
]
