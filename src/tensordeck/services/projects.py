"""Resource Manager, as far as the official client asks: a project exists and has a number."""

import hashlib
from typing import Any, Final

from tensordeck import names, protos
from tensordeck.services.call import Call

_PROJECT: Final = ("projects",)
_DIGITS: Final = 12


def project_number(project: str) -> str:
    """The number of a project: 12 digits that follow from its id; a number is its own."""
    if project.isdecimal():
        return project
    digest = int.from_bytes(hashlib.sha256(project.encode()).digest()[:8])
    return str(10 ** (_DIGITS - 1) + digest % (9 * 10 ** (_DIGITS - 1)))


class ProjectsService:
    """`google.cloud.resourcemanager.v3.Projects`."""

    def get_project(self, request: Any, _call: Call) -> Any:
        """Returns a project by id or number; every project exists."""
        project = names.parse(request.name, _PROJECT).project
        message = protos.message("google.cloud.resourcemanager.v3.Project")
        return message(
            name=f"projects/{project_number(project)}",
            project_id=project,
            display_name=project,
            state=message.ACTIVE,
        )
