"""The Google hosts that the gateway answers for, and the certificate names that cover them.

Which hosts the clients call: the endpoints that google-cloud-aiplatform, google-auth, gcloud,
gcsfs and TensorFlow's file system have built in. Every other host, Google's included, is
tunnelled untouched.
"""

import re
from typing import Final

_PATTERNS: Final = (
    r"[a-z0-9-]+-aiplatform\.googleapis\.com",
    r"aiplatform\.googleapis\.com",
    r"(?:aiplatform|storage)\.[a-z0-9-]+\.rep\.googleapis\.com",
    r"(?:[a-z0-9._-]+\.)?storage\.googleapis\.com",
    r"www\.googleapis\.com",  # TensorFlow: Cloud Storage's JSON API and the token endpoint
    r"oauth2\.googleapis\.com",
    r"iamcredentials\.googleapis\.com",
    r"logging\.googleapis\.com",
    r"cloudresourcemanager\.googleapis\.com",
    r"[a-z0-9-]+\.tensorboard\.googleusercontent\.com",  # the dashboard URLs that clients print
)
_INTERCEPTED: Final = re.compile("|".join(_PATTERNS))

CERTIFICATE_NAMES: Final = (
    "*.googleapis.com",
    "*.storage.googleapis.com",
    "*.rep.googleapis.com",
    "*.us.rep.googleapis.com",
    "*.eu.rep.googleapis.com",
    "*.tensorboard.googleusercontent.com",
)
"""DNS names for the server's certificate; a wildcard stands for one label."""


def is_intercepted(host: str) -> bool:
    """Whether the gateway answers for a host itself; case and a final dot don't matter."""
    return _INTERCEPTED.fullmatch(host.lower().removesuffix(".")) is not None
