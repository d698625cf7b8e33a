"""Every call of the metadata service by the generated clients of both versions of the API."""

import importlib
import json
import sys
from typing import Any

from google.api_core import exceptions

project, transport = sys.argv[1:]
PLACE = "projects/{}-{}/locations/us-central1"
ENDPOINT = {"api_endpoint": "us-central1-aiplatform.googleapis.com"}
SCHEMA = "title: user.Thing\nproperties: {rows: {type: integer}}\n"
ARTIFACT_TYPE, CONTEXT_TYPE = 1, 3
MISFIT = ("InvalidArgument", "BadRequest")  # as gRPC and as HTTP call it


def change_contexts(api: Any, client: Any, store: str) -> dict[str, object]:
    """What came of updates: logged, renamed, missing, against a schema, stale."""
    schema = client.create_metadata_schema(
        parent=store,
        metadata_schema=api.MetadataSchema(
            schema=SCHEMA.replace("Thing", "Place"),
            schema_version="0.0.1",
            schema_type=CONTEXT_TYPE,
        ),
    )
    made = client.create_context(parent=store, context=api.Context(), context_id="changing")

    def change(context_id: str = "changing", **fields: object) -> Any:
        options = {"allow_missing": fields.pop("allow_missing", False)}
        context = api.Context(name=f"{store}/contexts/{context_id}", **fields)
        try:
            return client.update_context(request={"context": context, **options})
        except exceptions.GoogleAPICallError as error:
            return type(error).__name__

    result: dict[str, object] = {}
    for value in (0.5, 1.0, True):
        logged = change(metadata={"lr": value}).metadata["lr"]
        result[f"logged {value}"] = logged is True if value is True else logged
    result["renamed"] = change(display_name="new").display_name
    result["missing"] = change("absent", description="d") == "NotFound"
    result["made"] = change("absent", description="d", allow_missing=True).description
    typed = {"schema_title": "user.Place", "schema_version": schema.schema_version}
    result["misfit"] = change(metadata={"rows": "many"}, **typed) in MISFIT
    result["stale"] = change(etag=made.etag, metadata={"lr": 2.0})
    if not isinstance(result["stale"], str):
        result["stale"] = "joined"
    for context_id in ("changing", "absent"):
        client.delete_context(name=f"{store}/contexts/{context_id}").result()
    return result


def use(version: str) -> dict[str, object]:
    """What came back from one version."""
    api = importlib.import_module(f"google.cloud.aiplatform_{version}")
    client = api.MetadataServiceClient(client_options=ENDPOINT, transport=transport)
    result: dict[str, object] = {}
    place = PLACE.format(project, version)
    created = client.create_metadata_store(
        parent=place, metadata_store=api.MetadataStore(description="d"), metadata_store_id="mine"
    )
    store = created.result().name
    result["stores"] = sorted(
        s.name.split("/")[-1] for s in client.list_metadata_stores(parent=place)
    )
    result["store"] = client.get_metadata_store(name=store).description

    schema = client.create_metadata_schema(
        parent=store,
        metadata_schema=api.MetadataSchema(
            schema=SCHEMA, schema_version="0.0.1", schema_type=ARTIFACT_TYPE
        ),
    )
    result["schema"] = client.get_metadata_schema(name=schema.name).schema == SCHEMA
    result["schemas"] = len(list(client.list_metadata_schemas(parent=store)))

    def artifact(artifact_id: str, **fields: object) -> str:
        made = api.Artifact(schema_title="user.Thing", **fields)
        return client.create_artifact(parent=store, artifact=made, artifact_id=artifact_id).name

    data, model = artifact("data", uri="gs://b/data"), artifact("model", metadata={"rows": 3})
    try:
        artifact("bad", metadata={"rows": "many"})
    except (exceptions.InvalidArgument, exceptions.BadRequest) as error:
        result["misfit"] = "`metadata.rows`" in str(error)
    execution = client.create_execution(
        parent=store, execution=api.Execution(display_name="train"), execution_id="train"
    ).name
    contexts = [
        client.create_context(
            parent=store, context=api.Context(display_name=name), context_id=name
        ).name
        for name in ("above", "below")
    ]
    client.add_context_children(context=contexts[0], child_contexts=[contexts[1]])
    result["parents"] = list(client.get_context(name=contexts[1]).parent_contexts) == contexts[:1]
    client.remove_context_children(
        request={"context": contexts[0], "child_contexts": [contexts[1]]}
    )
    result["orphan"] = list(client.get_context(name=contexts[1]).parent_contexts)
    client.add_context_artifacts_and_executions(
        context=contexts[0], artifacts=[data, model], executions=[execution]
    )
    client.add_execution_events(
        execution=execution,
        events=[
            api.Event(artifact=data, type_=api.Event.Type.INPUT, labels={"role": "train"}),
            api.Event(artifact=model, type_=api.Event.Type.OUTPUT),
        ],
    )
    graphs = (
        client.query_execution_inputs_and_outputs(execution=execution),
        client.query_context_lineage_subgraph(context=contexts[0]),
        client.query_artifact_lineage_subgraph(artifact=data),
    )
    result["graphs"] = [[len(g.artifacts), len(g.executions), len(g.events)] for g in graphs]
    one_hop = {"artifact": data, "max_hops": 1}
    result["one_hop"] = len(client.query_artifact_lineage_subgraph(request=one_hop).artifacts)
    event = min(graphs[0].events, key=lambda event: event.type_)
    result["event"] = [dict(event.labels), event.event_time.timestamp() > 0]

    mask = {"paths": ["display_name"]}
    updated = [
        client.update_artifact(
            artifact=api.Artifact(name=data, display_name="n"), update_mask=mask
        ),
        client.update_execution(
            execution=api.Execution(name=execution, display_name="n"), update_mask=mask
        ),
        client.update_context(
            context=api.Context(name=contexts[0], display_name="n"), update_mask=mask
        ),
    ]
    result["updated"] = [node.display_name for node in updated]
    result["kept"] = client.get_artifact(name=data).uri
    result["changes"] = change_contexts(api, client, store)
    listed = client.list_artifacts(
        request={
            "parent": store,
            "filter": f'in_context("{contexts[0]}") AND metadata.rows.number_value > 2',
        }
    )
    result["listed"] = [node.name == model for node in listed]
    result["executions"] = [
        node.display_name
        for node in client.list_executions(
            request={"parent": store, "filter": "state = STATE_UNSPECIFIED"}
        )
    ]
    result["contexts"] = [
        node.display_name
        for node in client.list_contexts(request={"parent": store, "order_by": "display_name desc"})
    ]

    dry = client.purge_artifacts(request={"parent": store, "filter": "uri:*"}).result()
    result["dry"] = [dry.purge_count, list(dry.purge_sample) == [data]]
    purges = [client.purge_artifacts, client.purge_executions, client.purge_contexts]
    result["purged"] = [
        purge(request={"parent": store, "filter": 'name:"/"', "force": True}).result().purge_count
        for purge in purges
    ]
    lone = artifact("lone")
    client.delete_artifact(name=lone).result()
    execution = client.create_execution(parent=store, execution=api.Execution()).name
    client.delete_execution(name=execution).result()
    context = client.create_context(parent=store, context=api.Context()).name
    client.delete_context(name=context).result()
    try:
        client.get_execution(name=execution)
    except exceptions.NotFound:
        result["deleted"] = True
    client.delete_metadata_store(name=store).result()
    result["stores_left"] = [
        s.name.split("/")[-1] for s in client.list_metadata_stores(parent=place)
    ]
    return result


sys.stdout.write(f"RESULT {json.dumps({version: use(version) for version in ('v1', 'v1beta1')})}\n")
