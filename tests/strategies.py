"""Hypothesis strategies that several tests share: ids, names, texts, filters."""

from hypothesis import strategies as st

from tensordeck.filters import All, Any_, Comparison, Filter, Not

run_ids = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,30}", fullmatch=True)
series_ids = st.from_regex(r"[a-z0-9][a-z0-9-]{0,30}", fullmatch=True)
segments = st.text(
    st.characters(exclude_characters="/", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20
)
"""Any id that a resource name can hold."""

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
"""Whatever a display name, a description or a label's value may be."""

close_texts = st.text("ab*'\"\\%_é😀 ", max_size=4)
"""Short texts out of few characters, so that they meet, with all that SQL or JSON could trip on."""

documents = st.dictionaries(
    close_texts,
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | close_texts,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(close_texts, inner, max_size=2),
        max_leaves=4,
    ),
    max_size=3,
)
"""JSON objects of finite numbers."""


@st.composite
def resource_names(draw: st.DrawFn) -> str:
    """Full names of one to five pairs."""
    pairs = draw(st.lists(st.tuples(segments, segments), min_size=1, max_size=5))
    return "/".join(f"{collection}/{item}" for collection, item in pairs)


def filters(comparisons: st.SearchStrategy[Comparison]) -> st.SearchStrategy[Filter]:
    """Trees of AND, OR and NOT over some comparisons."""
    return st.recursive(
        comparisons,
        lambda inner: (
            st.builds(Not, inner)
            | st.lists(inner, min_size=2, max_size=3).map(lambda operands: All(tuple(operands)))
            | st.lists(inner, min_size=2, max_size=3).map(lambda operands: Any_(tuple(operands)))
        ),
        max_leaves=6,
    )
