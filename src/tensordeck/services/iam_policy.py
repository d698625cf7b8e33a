"""IAM policies of resources: who may do what is decided by credentials so far, not by policies."""

from typing import Any

from tensordeck import protos
from tensordeck.access import Access
from tensordeck.errors import PermissionDenied, Unimplemented
from tensordeck.names import ResourceName
from tensordeck.services.call import Call


class IamPolicyService:
    """`google.iam.v1.IAMPolicy`.

    Args:
        access: Who may do what.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    def get_iam_policy(self, request: Any, _call: Call) -> Any:
        """Returns the policy of a resource: none has bindings of its own."""
        ResourceName.parse(request.resource, "resource")
        return protos.message("google.iam.v1.Policy")(version=1, etag=b"\0\0\0\0\0\0\0\1")

    def set_iam_policy(self, request: Any, _call: Call) -> Any:
        """Refuses to set a policy, rather than to keep one that nothing obeys."""
        ResourceName.parse(request.resource, "resource")
        raise Unimplemented(
            "Tensordeck has no policies on single resources: every credential of the server has "
            "all rights. Revoke the credential of whoever must not have them."
        )

    def test_iam_permissions(self, request: Any, call: Call) -> Any:
        """Returns those of the permissions that the caller has on the resource."""
        ResourceName.parse(request.resource, "resource")
        return protos.message("google.iam.v1.TestIamPermissionsResponse")(
            permissions=[
                permission
                for permission in request.permissions
                if self._permits(call, permission, request.resource)
            ]
        )

    def _permits(self, call: Call, permission: str, resource: str) -> bool:
        try:
            self._access.check(call.caller, permission, resource)
        except PermissionDenied:
            return False
        return True
