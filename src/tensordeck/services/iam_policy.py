"""IAM policies of resources: who may do what is decided by credentials so far, not by policies."""

from typing import Any

from tensordeck import protos
from tensordeck.access import Access
from tensordeck.access.permissions import PERMISSIONS
from tensordeck.errors import InvalidArgument, PermissionDenied, Unimplemented
from tensordeck.names import ResourceName, shown
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
        """Returns those of the permissions that the caller has on the resource.

        Nobody has permissions that the server does not know, those of other services among them.

        Raises:
            InvalidArgument: If a permission is empty or has a wildcard.
        """
        ResourceName.parse(request.resource, "resource")
        for permission in request.permissions:
            if not permission or "*" in permission:
                raise InvalidArgument(
                    "`permissions` must be names such as aiplatform.tensorboards.get, without "
                    f"wildcards; one is {shown(permission)}."
                )
        return protos.message("google.iam.v1.TestIamPermissionsResponse")(
            permissions=[
                permission
                for permission in request.permissions
                if self._permits(call, permission, request.resource)
            ]
        )

    def _permits(self, call: Call, permission: str, resource: str) -> bool:
        if permission not in PERMISSIONS:
            return False
        try:
            self._access.check(call.caller, permission, resource)
        except PermissionDenied:
            return False
        return True
