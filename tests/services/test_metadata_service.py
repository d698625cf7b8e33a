"""Contexts, artifacts, executions: what the official client's experiments are made of."""

import math
import re
import time

import pytest

from tensordeck import errors, protos
from tensordeck.store.resources import Artifact, Context

EXPERIMENT = {"schema_title": "system.Experiment", "schema_version": "0.0.1"}
RUN = {"schema_title": "system.ExperimentRun", "schema_version": "0.0.1"}


def context(api, context_id: str = "ctx", **fields):
    return api(
        "CreateContext",
        parent=api.metadata_store,
        context_id=context_id,
        context={**EXPERIMENT, **fields},
    )


def artifact(api, artifact_id: str = "art", **fields) -> str:
    return api(
        "CreateArtifact", parent=api.metadata_store, artifact_id=artifact_id, artifact=fields
    ).name


def execution(api, execution_id: str = "exe", **fields) -> str:
    return api(
        "CreateExecution", parent=api.metadata_store, execution_id=execution_id, execution=fields
    ).name


def plain(struct) -> dict:
    return protos.to_json(struct)


class TestStores:
    def test_the_default_store_is_simply_there(self, api):
        got = api("GetMetadataStore", name=api.metadata_store)
        assert got.name == api.metadata_store
        listed = api("ListMetadataStores", parent=api.place).metadata_stores
        assert [store.name for store in listed] == [api.metadata_store]

    def test_lists_of_a_fresh_project_are_empty(self, api):
        for kind in ("Contexts", "Artifacts", "Executions", "MetadataSchemas"):
            assert not api(f"List{kind}", parent=api.metadata_store).next_page_token

    def test_any_other_store_must_be_created(self, api):
        mine = f"{api.place}/metadataStores/mine"
        with pytest.raises(errors.NotFound, match=re.escape(mine)):
            api("GetMetadataStore", name=mine)
        with pytest.raises(errors.NotFound, match=re.escape(mine)):
            api("ListContexts", parent=mine)
        create = {"parent": api.place, "metadata_store_id": "mine"}
        api("CreateMetadataStore", metadata_store={"description": "d"}, **create)
        assert api("GetMetadataStore", name=mine).description == "d"
        with pytest.raises(errors.AlreadyExists):
            api("CreateMetadataStore", **create)

    def test_deleting_the_default_store_empties_it(self, api):
        context(api)
        api("DeleteMetadataStore", name=api.metadata_store)
        api("DeleteMetadataStore", name=api.metadata_store)
        assert not api("ListContexts", parent=api.metadata_store).contexts
        context(api)


class TestContexts:
    def test_round_trip(self, api):
        created = context(
            api,
            "My-exp_1",
            display_name="Mein Versuch 🎉",
            description="d",
            labels={"a": "b"},
            metadata={"n": 1, "deep": {"list": [1, "x", None, True, {"y": 2.5}]}},
        )
        got = api("GetContext", name=f"{api.metadata_store}/contexts/My-exp_1")
        assert got == created
        assert plain(got.metadata) == {
            "n": 1.0,
            "deep": {"list": [1.0, "x", None, True, {"y": 2.5}]},
        }

    def test_metrics_that_are_no_numbers(self, api):
        values = {"nan": math.nan, "inf": math.inf, "deep": {"minus": -math.inf}}
        metadata = context(api, metadata=values).metadata
        got = api("GetContext", name=f"{api.metadata_store}/contexts/ctx").metadata
        listed = api("ListContexts", parent=api.metadata_store).contexts[0].metadata
        # The official client makes JSON of all that it reads, which has no such numbers.
        for struct in (metadata, got, listed):
            spelled = {"nan": "NaN", "inf": "Infinity", "deep": {"minus": "-Infinity"}}
            assert plain(struct) == spelled

    def test_metrics_that_are_no_numbers_are_kept_as_numbers(self, api):
        values = {"nan": math.nan, "list": [math.inf, "NaN"], "text": "NaN"}
        got = context(api, metadata=values)
        # What was read comes back with what is new, as the client sends it.
        got.metadata["more"] = 1.0
        api("UpdateContext", context=got)
        name = artifact(api, metadata=values)
        api("UpdateArtifact", artifact=api("GetArtifact", name=name))
        for kind, node in ((Context, got.name), (Artifact, name)):
            kept = api.store.catalog.get(kind, node).metadata
            assert math.isnan(kept["nan"])
            assert kept["list"] == [math.inf, "NaN"]
            assert kept["text"] == "NaN"

    def test_an_id_is_made_up_when_none_is_given(self, api):
        created = api("CreateContext", parent=api.metadata_store, context={})
        assert re.fullmatch(r"[0-9a-f-]{36}", created.name.rpartition("/")[2])

    def test_duplicates_and_missing(self, api):
        name = context(api).name
        with pytest.raises(errors.AlreadyExists, match="already exists"):
            context(api)
        with pytest.raises(errors.NotFound, match=re.escape(name + "x")):
            api("GetContext", name=name + "x")
        for rpc in ("GetArtifact", "GetExecution"):
            kind = rpc.removeprefix("Get").lower()
            with pytest.raises(errors.NotFound, match=kind):
                api(rpc, name=f"{api.metadata_store}/{kind}s/none")

    @pytest.mark.parametrize(
        ("context_id", "fields", "named"),
        [
            ("has space", {}, "context_id"),
            ("x" * 129, {}, "context_id"),
            ("a/b", {}, "context_id"),
            ("ok", {"labels": {"UPPER": "x"}}, "context.labels"),
            ("ok", {"metadata": {"x": "y" * 205_000}}, "context.metadata"),
        ],
    )
    def test_bad_contexts_are_refused_by_field(self, api, context_id, fields, named):
        with pytest.raises(errors.InvalidArgument, match=named):
            context(api, context_id, **fields)

    def test_etags_compare_as_strings(self, api):
        name = context(api).name
        etags = [api("GetContext", name=name).etag]
        for number in range(12):
            updated = api("UpdateContext", context={"name": name, "metadata": {"n": number}})
            etags.append(updated.etag)
        assert etags == sorted(set(etags))
        assert {len(etag) for etag in etags} == {13}
        assert all(etag.isdecimal() for etag in etags)

    def test_a_stale_etag_over_grpc(self, api):
        created = context(api, metadata={"a": 1})
        newer = api("UpdateContext", context={"name": created.name, "metadata": {"b": 2}})
        # The client's retry reads both numbers from the beginning of the message.
        expected = (
            rf"^Specified Context `etag`: `{created.etag}` does not match "
            rf"server `etag`: `{newer.etag}`"
        )
        with pytest.raises(errors.Aborted, match=expected):
            api("UpdateContext", context={"name": created.name, "etag": created.etag})
        api("UpdateContext", context={"name": created.name, "etag": newer.etag})

    def test_a_stale_etag_over_rest_merges_one_level_deep(self, api):
        created = context(api, metadata={"_params": {"a": 1}, "_state": "RUNNING"})
        api(
            "UpdateContext",
            context={"name": created.name, "metadata": {"_params": {"a": 1, "b": 2}, "x": 1}},
        )
        updated = api.over(transport="rest")(
            "UpdateContext",
            context={
                "name": created.name,
                "etag": created.etag,
                "metadata": {"_params": {"a": 9, "c": 3}, "_state": "COMPLETE"},
            },
        )
        assert plain(updated.metadata) == {
            "_params": {"a": 9.0, "b": 2.0, "c": 3.0},
            "_state": "COMPLETE",
            "x": 1.0,
        }

    def test_an_update_without_a_mask_replaces_metadata_and_keeps_the_rest(self, api):
        parent, child = context(api, "parent"), context(api, "child", description="kept")
        api("AddContextChildren", context=parent.name, child_contexts=[child.name])
        before = api("GetContext", name=child.name)
        assert before.etag == child.etag
        assert list(before.parent_contexts) == [parent.name]
        after = api(
            "UpdateContext",
            context={
                "name": child.name,
                "etag": child.etag,
                "create_time": {"seconds": 1},
                "metadata": {"new": 1},
                **EXPERIMENT,
            },
        )
        assert plain(after.metadata) == {"new": 1.0}
        assert after.description == "kept"
        assert after.create_time == before.create_time
        assert list(after.parent_contexts) == [parent.name]

    def test_masks(self, api):
        name = context(api, description="old", metadata={"a": 1, "b": 2}).name
        after = api(
            "UpdateContext",
            context={"name": name, "metadata": {"a": 5}, "display_name": "ignored"},
            update_mask={"paths": ["description", "metadata.a", "metadata.b"]},
        )
        assert after.description == ""
        assert after.display_name == ""
        assert plain(after.metadata) == {"a": 5.0}
        with pytest.raises(errors.InvalidArgument, match="nonsense"):
            api("UpdateContext", context={"name": name}, update_mask={"paths": ["nonsense"]})
        with pytest.raises(errors.InvalidArgument, match="schema_title"):
            api("UpdateContext", context={"name": name, "schema_title": "system.Other"})

    def test_allow_missing_creates(self, api):
        name = f"{api.metadata_store}/contexts/new"
        with pytest.raises(errors.NotFound):
            api("UpdateContext", context={"name": name})
        api("UpdateContext", context={"name": name, "display_name": "n"}, allow_missing=True)
        assert api("GetContext", name=name).display_name == "n"

    def test_a_deletion_may_show_an_etag(self, api):
        created = context(api)
        with pytest.raises(errors.Aborted, match="etag"):
            api("DeleteContext", name=created.name, etag="1")
        api("DeleteContext", name=created.name, etag=created.etag)
        with pytest.raises(errors.NotFound):
            api("DeleteContext", name=created.name)


class TestHierarchy:
    def test_children_are_found_by_their_parent(self, api):
        parent = context(api, "exp").name
        for number in range(3):
            child = context(api, f"exp-r{number}", **RUN).name
            api("AddContextChildren", context=parent, child_contexts=[child])
        context(api, "other-r", **RUN)
        listed = api(
            "ListContexts",
            parent=api.metadata_store,
            filter=f'schema_title="system.ExperimentRun" AND parent_contexts:"{parent}"',
        ).contexts
        assert [c.name.rpartition("/")[2] for c in listed] == ["exp-r0", "exp-r1", "exp-r2"]
        first = listed[0].name
        api("RemoveContextChildren", context=parent, child_contexts=[first])
        api("RemoveContextChildren", context=parent, child_contexts=[first])
        assert not api("GetContext", name=first).parent_contexts

    def test_no_circles(self, api):
        a, b, c = (context(api, name).name for name in ("a", "b", "c"))
        api("AddContextChildren", context=a, child_contexts=[b])
        api("AddContextChildren", context=b, child_contexts=[c])
        for above, below in ((c, a), (b, a), (a, a)):
            with pytest.raises(errors.InvalidArgument, match="circle"):
                api("AddContextChildren", context=above, child_contexts=[below])

    def test_at_most_ten_parents(self, api):
        child = context(api, "child").name
        for number in range(10):
            api(
                "AddContextChildren",
                context=context(api, f"p{number}").name,
                child_contexts=[child],
            )
        with pytest.raises(errors.InvalidArgument, match="10 parents"):
            api("AddContextChildren", context=context(api, "p10").name, child_contexts=[child])

    def test_members_and_children_must_exist_and_be_of_the_store(self, api):
        mine = context(api).name
        missing = f"{api.metadata_store}/contexts/missing"
        with pytest.raises(errors.NotFound, match="missing"):
            api("AddContextChildren", context=mine, child_contexts=[missing])
        with pytest.raises(errors.NotFound, match="missing"):
            api("AddContextChildren", context=missing, child_contexts=[mine])
        elsewhere = "projects/other/locations/l/metadataStores/default"
        with pytest.raises(errors.InvalidArgument, match="child_contexts"):
            api("AddContextChildren", context=mine, child_contexts=[f"{elsewhere}/contexts/x"])
        with pytest.raises(errors.InvalidArgument, match="artifacts"):
            api(
                "AddContextArtifactsAndExecutions",
                context=mine,
                artifacts=[f"{elsewhere}/artifacts/x"],
            )


class TestLineage:
    def events(self, graph) -> set[tuple[str, str, int]]:
        return {
            (e.artifact.rpartition("/")[2], e.execution.rpartition("/")[2], e.type_)
            for e in graph.events
        }

    @pytest.fixture
    def graph(self, api):
        """Data goes into train, a model comes out and goes into evaluate, a metric comes out."""
        names = {a: artifact(api, a) for a in ("data", "model", "metric")}
        names |= {e: execution(api, e) for e in ("train", "evaluate")}
        for run, went_in, came_out in (
            ("train", "data", "model"),
            ("evaluate", "model", "metric"),
        ):
            events = [
                {"artifact": names[went_in], "type_": 1},
                {"artifact": names[came_out], "type_": 2},
            ]
            for _ in range(2):  # what is there already is skipped
                api("AddExecutionEvents", execution=names[run], events=events)
        return names

    def test_inputs_and_outputs(self, api, graph):
        got = api("QueryExecutionInputsAndOutputs", execution=graph["train"])
        assert self.events(got) == {("data", "train", 1), ("model", "train", 2)}
        assert {a.name for a in got.artifacts} == {graph["data"], graph["model"]}
        assert [e.name for e in got.executions] == [graph["train"]]

    def test_events_keep_their_time_and_the_labels_of_the_first(self, api):
        train, data, model = execution(api, "t"), artifact(api, "d"), artifact(api, "m")
        before = time.time()
        for label in ("one", "two"):
            api(
                "AddExecutionEvents",
                execution=train,
                events=[
                    {"artifact": data, "type_": 1, "labels": {"role": label}},
                    {"artifact": model, "type_": 2, "labels": {"step": label}},
                ],
            )
        by_execution = api("QueryExecutionInputsAndOutputs", execution=train).events
        by_artifact = api("QueryArtifactLineageSubgraph", artifact=data).events
        assert by_execution == by_artifact
        assert {e.artifact: dict(e.labels) for e in by_execution} == {
            data: {"role": "one"},
            model: {"step": "one"},
        }
        for event in by_execution:
            assert int(before) <= event.event_time.seconds <= time.time()

    def test_a_contexts_graph_holds_its_members(self, api, graph):
        mine = context(api).name
        members = {
            "artifacts": [graph["data"], graph["metric"]],
            "executions": [graph["train"]],
        }
        api("AddContextArtifactsAndExecutions", context=mine, **members)
        got = api("QueryContextLineageSubgraph", context=mine)
        assert {a.name for a in got.artifacts} == set(members["artifacts"])
        assert self.events(got) == {("data", "train", 1)}
        listed = api(
            "ListArtifacts", parent=api.metadata_store, filter=f'in_context("{mine}")'
        ).artifacts
        assert {a.name for a in listed} == set(members["artifacts"])
        listed = api(
            "ListExecutions", parent=api.metadata_store, filter=f'in_context("{mine}")'
        ).executions
        assert [e.name for e in listed] == [graph["train"]]

    @pytest.mark.parametrize(
        ("hops", "artifacts"),
        [
            (0, {"data", "model", "metric"}),
            (1, {"data"}),
            (2, {"data", "model"}),
            (4, {"data", "model", "metric"}),
        ],
    )
    def test_an_artifacts_graph(self, api, graph, hops, artifacts):
        got = api("QueryArtifactLineageSubgraph", artifact=graph["data"], max_hops=hops)
        assert {a.name.rpartition("/")[2] for a in got.artifacts} == artifacts

    def test_an_artifacts_graph_filtered(self, api, graph):
        got = api(
            "QueryArtifactLineageSubgraph",
            artifact=graph["data"],
            filter=f'name = "{graph["model"]}"',
        )
        assert [a.name for a in got.artifacts] == [graph["model"]]

    def test_links_die_with_either_end(self, api, graph):
        api("DeleteArtifact", name=graph["model"])
        got = api("QueryExecutionInputsAndOutputs", execution=graph["train"])
        assert self.events(got) == {("data", "train", 1)}

    @pytest.mark.parametrize(
        ("event", "named"),
        [
            ({"type_": 0}, "type"),
            ({"type_": 1, "artifact": "nonsense"}, "artifact"),
            ({"type_": 1, "execution": "another"}, "execution"),
            ({"type_": 1, "labels": {"A": "b"}}, "labels"),
        ],
    )
    def test_bad_events(self, api, graph, event, named):
        event = {"artifact": graph["data"], **event}
        with pytest.raises(errors.InvalidArgument, match=re.escape(f"events[0].{named}")):
            api("AddExecutionEvents", execution=graph["train"], events=[event])

    def test_missing_starts(self, api):
        for rpc, field in (
            ("QueryExecutionInputsAndOutputs", "execution"),
            ("QueryContextLineageSubgraph", "context"),
            ("QueryArtifactLineageSubgraph", "artifact"),
        ):
            with pytest.raises(errors.NotFound):
                api(rpc, **{field: f"{api.metadata_store}/{field}s/none"})
        with pytest.raises(errors.InvalidArgument, match="max_hops"):
            api("QueryArtifactLineageSubgraph", artifact=artifact(api), max_hops=-1)


class TestArtifactsAndExecutions:
    def test_states_and_uris(self, api):
        name = artifact(api, uri="gs://b/x", state=2, schema_title="system.Model")
        got = api("GetArtifact", name=name)
        assert (got.uri, got.state) == ("gs://b/x", 2)
        updated = api(
            "UpdateArtifact", artifact={"name": name, "state": 1}, update_mask={"paths": ["state"]}
        )
        assert (updated.uri, updated.state) == ("gs://b/x", 1)
        name = execution(api, state=2)
        updated = api("UpdateExecution", execution={"name": name, "state": 3})
        assert api("GetExecution", name=name).state == updated.state == 3

    def test_a_stale_artifact_is_refused_on_both_transports(self, api):
        name = artifact(api)
        old = api("GetArtifact", name=name)
        api("UpdateArtifact", artifact={"name": name, "description": "n"})
        for caller in (api, api.over(transport="rest")):
            with pytest.raises(errors.Aborted, match="Artifact `etag`"):
                caller("UpdateArtifact", artifact={"name": name, "etag": old.etag})

    def test_lists_page(self, api):
        names = [artifact(api, f"a{number}") for number in range(5)]
        got, token = [], ""
        while True:
            page = api("ListArtifacts", parent=api.metadata_store, page_size=2, page_token=token)
            got += [a.name for a in page.artifacts]
            token = page.next_page_token
            if not token:
                break
        assert got == names


class TestPurge:
    def test_without_force_nothing_goes(self, api):
        names = [artifact(api, f"a{number}", uri="x") for number in range(3)]
        kept = artifact(api, "kept", uri="y")
        purge = {"parent": api.metadata_store, "filter": 'uri = "x"'}
        reply = api("PurgeArtifacts", **purge)
        assert reply.purge_count == 3
        assert set(reply.purge_sample) == set(names)
        assert len(api("ListArtifacts", parent=api.metadata_store).artifacts) == 4
        reply = api("PurgeArtifacts", force=True, **purge)
        assert (reply.purge_count, list(reply.purge_sample)) == (3, [])
        left = api("ListArtifacts", parent=api.metadata_store).artifacts
        assert [a.name for a in left] == [kept]

    def test_a_filter_is_required(self, api):
        with pytest.raises(errors.InvalidArgument, match="filter"):
            api("PurgeContexts", parent=api.metadata_store, force=True)


class TestSchemas:
    def register(self, api, version: str, title: str = "user.Thing", **fields) -> str:
        schema = {
            "schema": f"title: {title}\ntype: object\n",
            "schema_version": version,
            "schema_type": 1,
            **fields,
        }
        return api("CreateMetadataSchema", parent=api.metadata_store, metadata_schema=schema).name

    def test_an_empty_version_is_the_latest(self, api):
        for version in ("0.0.2", "0.0.10", "0.0.9"):
            self.register(api, version)
        name = artifact(api, schema_title="user.Thing")
        assert api("GetArtifact", name=name).schema_version == "0.0.10"
        name = artifact(api, "b", schema_title="system.Dataset")
        assert api("GetArtifact", name=name).schema_version == "0.0.1"
        name = artifact(api, "c", schema_title="nobody.Knows", schema_version="7.0.0")
        assert api("GetArtifact", name=name).schema_version == "7.0.0"

    def test_get_and_list(self, api):
        names = [self.register(api, f"0.0.{n}") for n in (1, 2)]
        listed = api("ListMetadataSchemas", parent=api.metadata_store).metadata_schemas
        assert [s.name for s in listed] == names
        assert api("GetMetadataSchema", name=names[0]) == listed[0]

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"schema_version": "1"}, "schema_version"),
            ({"schema": "type: object"}, "title"),
            ({"schema_type": 0}, "schema_type"),
        ],
    )
    def test_bad_schemas(self, api, fields, named):
        with pytest.raises(errors.InvalidArgument, match=named):
            self.register(api, **{"version": "1.0.0", **fields})
