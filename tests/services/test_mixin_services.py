"""Operations, locations, projects and policies."""

import pytest

from tensordeck import errors, protos
from tensordeck.access import Access
from tensordeck.services.iam_policy import IamPolicyService
from tensordeck.services.locations import LocationsService
from tensordeck.services.operations import OperationsService
from tensordeck.services.projects import ProjectsService
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.store.resources import Operation
from tests.services.conftest import CALL

EMPTY = protos.message("google.protobuf.Empty")()
DELETION = "DeleteOperationMetadata"


class TestOperations:
    @pytest.fixture
    def operations(self, api):
        return OperationsService(api.store)

    def request(self, rpc: str, **fields):
        return protos.message(f"google.longrunning.{rpc}Request")(**fields)

    def finish(self, operations, api, result=EMPTY, kind=DELETION):
        return operations.finish(f"{api.place}/tensorboards/1", result, kind, api.context)

    def test_an_operation_is_done_and_holds_its_result(self, api, operations):
        board = protos.message("Tensorboard")(name=f"{api.place}/tensorboards/1")
        made = self.finish(operations, api, board, "CreateTensorboardOperationMetadata")
        assert made.done
        assert made.name.startswith(f"{api.place}/operations/")
        assert made.name.rpartition("/")[2].isdecimal()
        assert made.response.type_url == (
            "type.googleapis.com/google.cloud.aiplatform.v1.Tensorboard"
        )
        assert protos.message("Tensorboard").FromString(made.response.value) == board
        metadata = protos.message("CreateTensorboardOperationMetadata").FromString(
            made.metadata.value
        )
        assert metadata.generic_metadata.create_time.seconds > 1_700_000_000

    def test_it_is_found_by_every_name_that_clients_poll(self, api, operations):
        made = self.finish(operations, api)
        number = made.name.rpartition("/")[2]
        for below in ("", "/tensorboards/1", "/tensorboards/1/experiments/e/runs/r"):
            request = self.request("GetOperation", name=f"{api.place}{below}/operations/{number}")
            assert operations.get_operation(request, api.context) == made
        wait = self.request("WaitOperation", name=made.name)
        assert operations.wait_operation(wait, api.context) == made

    def test_types_are_named_as_the_callers_version_does(self, api, operations):
        made = self.finish(operations, api, protos.message("Tensorboard")())
        beta = api.over(version="v1beta1")
        got = operations.get_operation(self.request("GetOperation", name=made.name), beta.context)
        assert got.response.type_url.endswith("aiplatform.v1beta1.Tensorboard")
        assert got.metadata.type_url.endswith("aiplatform.v1beta1.DeleteOperationMetadata")
        empty = self.finish(operations, beta)
        assert empty.response.type_url == "type.googleapis.com/google.protobuf.Empty"

    def test_old_ones_are_forgotten_and_young_ones_are_not(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tensordeck.services.operations._PAGE", 2)
        store = open_store(Settings(data_dir=tmp_path))
        operations = OperationsService(store)
        place = "projects/p/locations/l"
        for number in range(5):
            old = Operation(name=f"{place}/operations/{number}", create_time=10**15 + number)
            store.catalog.create(old)
        young = operations.finish(f"{place}/tensorboards/1", EMPTY, DELETION, CALL).name

        assert operations.sweep() == 5
        assert operations.sweep() == 0

        left = operations.list_operations(self.request("ListOperations", name=place), CALL)
        assert [operation.name for operation in left.operations] == [young]
        store.close()

    def test_list_pages_newest_first(self, api, operations):
        made = [self.finish(operations, api).name for _ in range(3)]
        names, token = [], ""
        while True:
            request = self.request(
                "ListOperations", name=f"{api.place}/operations", page_size=2, page_token=token
            )
            reply = operations.list_operations(request, api.context)
            names += [operation.name for operation in reply.operations]
            token = reply.next_page_token
            if not token:
                break
        assert sorted(names) == sorted(made)

    def test_cancel_and_delete(self, api, operations):
        name = self.finish(operations, api).name
        cancel = self.request("CancelOperation", name=name)
        assert operations.cancel_operation(cancel, api.context) == EMPTY
        delete = self.request("DeleteOperation", name=name)
        assert operations.delete_operation(delete, api.context) == EMPTY
        for call, rpc in (
            (operations.get_operation, "GetOperation"),
            (operations.cancel_operation, "CancelOperation"),
            (operations.delete_operation, "DeleteOperation"),
        ):
            with pytest.raises(errors.NotFound, match="operations/"):
                call(self.request(rpc, name=name), api.context)

    @pytest.mark.parametrize("name", ["", "operations/1", "a/b/operations/1", "projects/p"])
    def test_bad_names(self, api, operations, name):
        with pytest.raises(errors.InvalidArgument):
            operations.get_operation(self.request("GetOperation", name=name), api.context)


class TestLocations:
    locations = LocationsService()

    def test_every_region_exists(self, api):
        request = protos.message("google.cloud.location.GetLocationRequest")
        got = self.locations.get_location(
            request(name="projects/p/locations/anywhere"), api.context
        )
        assert (got.name, got.location_id) == ("projects/p/locations/anywhere", "anywhere")
        with pytest.raises(errors.InvalidArgument):
            self.locations.get_location(request(name="projects/p"), api.context)

    def test_the_list_pages(self, api):
        request = protos.message("google.cloud.location.ListLocationsRequest")
        regions, token = [], ""
        while True:
            reply = self.locations.list_locations(
                request(name="projects/p", page_size=7, page_token=token), api.context
            )
            regions += [location.location_id for location in reply.locations]
            token = reply.next_page_token
            if not token:
                break
        assert len(regions) == len(set(regions)) > 30
        assert {"us-central1", "europe-west4", "global"} <= set(regions)


class TestProjects:
    def get(self, api, name: str):
        request = protos.message("google.cloud.resourcemanager.v3.GetProjectRequest")(name=name)
        return ProjectsService().get_project(request, api.context)

    def test_an_id_has_one_number(self, api):
        got = self.get(api, "projects/my-project")
        assert got.project_id == "my-project"
        assert got == self.get(api, "projects/my-project")
        assert len(got.name.removeprefix("projects/")) == 12
        assert got.name != self.get(api, "projects/other-project").name

    def test_a_number_is_its_own(self, api):
        got = self.get(api, "projects/123456")
        assert (got.name, got.project_id) == ("projects/123456", "123456")


class ReadersOnly(Access):
    """Lets everybody read and nobody write."""

    def authenticate(self, authorization):
        raise NotImplementedError

    def authenticate_cookie(self, cookie):
        raise NotImplementedError

    def check(self, caller, permission, resource):
        if not permission.endswith(".get"):
            raise errors.PermissionDenied(permission)


class TestPolicies:
    policies = IamPolicyService(ReadersOnly())

    def test_a_test_tells_what_access_allows(self, api):
        request = protos.message("google.iam.v1.TestIamPermissionsRequest")(
            resource=f"{api.place}/tensorboards/1",
            permissions=[
                "aiplatform.tensorboards.get",
                "aiplatform.tensorboards.delete",
                "pubsub.topics.get",
            ],
        )
        got = self.policies.test_iam_permissions(request, api.context)
        assert list(got.permissions) == ["aiplatform.tensorboards.get"]

    @pytest.mark.parametrize("permission", ["", "*", "aiplatform.tensorboards.*"])
    def test_wildcards_are_refused(self, api, permission):
        request = protos.message("google.iam.v1.TestIamPermissionsRequest")(
            resource=f"{api.place}/tensorboards/1", permissions=[permission]
        )
        with pytest.raises(errors.InvalidArgument, match="permissions"):
            self.policies.test_iam_permissions(request, api.context)

    def test_policies_are_empty_and_stay_so(self, api):
        resource = f"{api.place}/tensorboards/1"
        get = protos.message("google.iam.v1.GetIamPolicyRequest")(resource=resource)
        assert not self.policies.get_iam_policy(get, api.context).bindings
        request = protos.message("google.iam.v1.SetIamPolicyRequest")(resource=resource)
        with pytest.raises(errors.Unimplemented):
            self.policies.set_iam_policy(request, api.context)
