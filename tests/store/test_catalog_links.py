"""Links between metadata resources, and views of boards."""

import threading
from datetime import UTC, datetime

import pytest

from tensordeck import errors
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import (
    Artifact,
    Context,
    Execution,
    MetadataStore,
    Tensorboard,
)
from tests.store.samples import PLACE, changed

STORE = f"{PLACE}/metadataStores/default"
A, B, C = (f"{STORE}/contexts/{i}" for i in "abc")
ARTIFACT, EXECUTION = f"{STORE}/artifacts/a", f"{STORE}/executions/a"


@pytest.fixture
def nodes(catalog: Catalog, metadata_store: MetadataStore) -> Catalog:
    """Three contexts, an artifact and an execution, the last three of one id."""
    for name in (A, B, C):
        catalog.create(Context(name=name))
    catalog.create(Artifact(name=ARTIFACT))
    catalog.create(Execution(name=EXECUTION))
    return catalog


@pytest.mark.parametrize(
    ("kind", "source", "target"),
    [
        ("child", A, B),
        ("member", A, ARTIFACT),
        ("member", A, EXECUTION),
        ("input", ARTIFACT, EXECUTION),
        ("output", EXECUTION, ARTIFACT),
    ],
)
def test_a_link_is_found_from_both_ends(
    nodes: Catalog, kind: str, source: str, target: str
) -> None:
    nodes.add_links(kind, source, [target])

    link = [(source, target, {})]
    assert nodes.links(kind, source=source) == link
    assert nodes.links(kind, target=target) == link
    assert nodes.links(kind, source=source, target=target) == link
    assert nodes.links(kind, source=C) == []

    nodes.remove_links(kind, source, [target])
    assert nodes.links(kind, source=source) == []


def test_contexts_form_no_circle(nodes: Catalog) -> None:
    nodes.add_links("child", A, [B])
    nodes.add_links("child", B, [C])

    for above, below in ((A, A), (B, A), (C, A), (C, B)):
        with pytest.raises(errors.InvalidArgument, match="circle"):
            nodes.add_links("child", above, [below])
    nodes.add_links("child", A, [C])  # two ways down are none
    assert nodes.links("child", target=A) == []


def test_contexts_form_no_circle_however_many_add_links_at_once(nodes: Catalog) -> None:
    ring = [(A, B), (B, C), (C, A)]
    barrier = threading.Barrier(len(ring))
    refused = []

    def add(above: str, below: str) -> None:
        barrier.wait()
        try:
            nodes.add_links("child", above, [below])
        except errors.InvalidArgument as error:
            refused.append(str(error))

    adders = [threading.Thread(target=add, args=pair) for pair in ring]
    for adder in adders:
        adder.start()
    for adder in adders:
        adder.join()

    assert len(refused) == 1
    assert "circle" in refused[0]


def test_members_of_both_kinds_are_added_together(nodes: Catalog) -> None:
    nodes.add_links("member", A, [EXECUTION, ARTIFACT, ARTIFACT])

    assert sorted(nodes.links("member", source=A), key=lambda link: link.target) == [
        (A, ARTIFACT, {}),
        (A, EXECUTION, {}),
    ]


def test_a_link_that_exists_stays(nodes: Catalog) -> None:
    nodes.add_links("child", A, [B], {"time": 1, "labels": {"a": "b"}})
    nodes.add_links("child", A, [B, C], {"time": 2})

    kept = (A, B, {"time": 1, "labels": {"a": "b"}})
    assert nodes.links("child", source=A) == [kept, (A, C, {"time": 2})]
    nodes.remove_links("child", A, [C, f"{STORE}/contexts/none"])
    nodes.remove_links("child", f"{STORE}/contexts/none", [B])
    assert nodes.links("child", source=A) == [kept]


def test_a_context_knows_its_parents(nodes: Catalog) -> None:
    nodes.add_links("child", A, [C])
    nodes.add_links("child", B, [C])

    assert nodes.get(Context, C).parent_contexts == (A, B)
    assert nodes.find_many(Context, [A, C])[C].parent_contexts == (A, B)
    found = {context.name: context.parent_contexts for context in nodes.list(Context, STORE).items}
    assert found == {A: (), B: (), C: (A, B)}

    updated = nodes.update(Context, C, changed(parent_contexts=(), metadata={"a": 1}))
    assert updated.parent_contexts == (A, B)
    assert nodes.get(Context, C) == updated


def test_a_link_dies_with_either_end(nodes: Catalog) -> None:
    nodes.add_links("child", A, [B])
    nodes.add_links("child", B, [C])
    nodes.add_links("member", B, [ARTIFACT])

    nodes.delete(Context, B)

    assert nodes.links("child", source=A) == []
    assert nodes.links("child", target=C) == []
    assert nodes.links("member", target=ARTIFACT) == []
    assert nodes.find(Artifact, ARTIFACT)
    nodes.create(Context(name=B))
    assert nodes.links("child", source=A) == []


@pytest.mark.parametrize(
    ("kind", "source", "targets", "error"),
    [
        ("child", A, [B, f"{STORE}/contexts/none"], errors.NotFound),
        ("child", f"{STORE}/contexts/none", [B], errors.NotFound),
        ("child", A, [ARTIFACT], errors.InvalidArgument),
        ("member", A, [B], errors.InvalidArgument),
        ("member", ARTIFACT, [A], errors.InvalidArgument),
        ("nonsense", A, [B], errors.InvalidArgument),
        ("child", "x", [B], errors.InvalidArgument),
        ("child", A, ["x"], errors.InvalidArgument),
    ],
)
def test_a_link_that_can_not_be_changes_nothing(
    nodes: Catalog, kind: str, source: str, targets: list[str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        nodes.add_links(kind, source, targets)

    assert nodes.links("child", target=B) == []


def test_links_of_nothing_are_not_asked_for(nodes: Catalog) -> None:
    with pytest.raises(errors.InvalidArgument):
        nodes.links("child")
    with pytest.raises(errors.InvalidArgument):
        nodes.links("nonsense", source=A)


def test_many_links_at_once(nodes: Catalog) -> None:
    names = [f"{STORE}/artifacts/many-{i}" for i in range(2500)]
    nodes.create_many([Artifact(name=name) for name in names])

    nodes.add_links("member", A, names)

    assert [link.target for link in nodes.links("member", source=A)] == names
    nodes.remove_links("member", A, names)
    assert nodes.links("member", source=A) == []


def test_views_are_counted_by_user_and_month(catalog: Catalog, tensorboard: Tensorboard) -> None:
    threads = [
        threading.Thread(target=catalog.record_view, args=(tensorboard.name, f"user-{i % 2}"))
        for i in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    month = datetime.now(UTC).strftime("%Y%m")
    assert catalog.views(tensorboard.name) == {month: [("user-0", 10), ("user-1", 10)]}


def test_views_belong_to_an_instance(catalog: Catalog, tensorboard: Tensorboard) -> None:
    assert catalog.views(tensorboard.name) == {}
    for call in (
        lambda: catalog.record_view(f"{tensorboard.name}0", "me"),
        lambda: catalog.views(f"{tensorboard.name}0"),
    ):
        with pytest.raises(errors.NotFound):
            call()
    catalog.record_view(tensorboard.name, "me")
    catalog.delete(Tensorboard, tensorboard.name)
    catalog.create(Tensorboard(name=tensorboard.name))
    assert catalog.views(tensorboard.name) == {}
