"""How each of these scripts begins and ends; what stands between is what a user writes."""

import json
import sys
from typing import Any

from google.cloud import aiplatform

PROJECT, TRANSPORT, *ARGUMENTS = sys.argv[1:]
EXPLICIT = {} if TRANSPORT == "switch" else {"api_transport": TRANSPORT}
"""`switch` says nothing, so that the client goes over to REST by itself at a second `init`."""


def init_place(**options: Any) -> None:
    """The first `init`: project and region."""
    aiplatform.init(project=PROJECT, location="us-central1", **EXPLICIT, **options)


def init_experiment(**options: Any) -> None:
    """The second one, with neither; it makes the client switch to REST."""
    aiplatform.init(**EXPLICIT, **options)


def answer(**result: Any) -> None:
    """Hands what came back to the test."""
    sys.stdout.write(f"RESULT {json.dumps(result)}\n")
