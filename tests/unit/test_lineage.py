"""The drawing of lineage: laws that hold for any lineage, on lineages that hypothesis draws."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rainbow.reports.catalogue.lineage import Edge, Layout, Node, Said, essential, lay_out, svg

SCRIPT = '<script>alert("1")</script>'


@st.composite
def lineages(draw: st.DrawFn) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Assets that are each made from some of those before it, and their groups, which need not follow the lineage."""
    names = [f"{'part_' * draw(st.integers(0, 4))}asset_{n}" for n in range(draw(st.integers(1, 18)))]
    upstream = {
        name: tuple(draw(st.lists(st.sampled_from(names[:n]), unique=True, max_size=4))) if n else () for n, name in enumerate(names)
    }
    groups = {name: f"group {draw(st.integers(0, 3))}" for name in names}
    return upstream, groups


def _overlap(one: Node, other: Node) -> bool:
    apart = (
        one.x + one.width <= other.x or other.x + other.width <= one.x or one.y + one.height <= other.y or other.y + other.height <= one.y
    )
    return not apart


def _through(edge: Edge, node: Node) -> bool:
    """Whether an edge crosses a box where it passes the box's layer."""
    passes = [(start, end) for start, end in zip(edge.points[1:-1:2], edge.points[2:-1:2], strict=True)]
    return any(
        start[0] <= node.x + 1 and node.x + node.width - 1 <= end[0] and node.y < start[1] < node.y + node.height for start, end in passes
    )


@given(lineages())
def test_no_two_boxes_overlap_and_all_lie_within_the_drawing(drawn: tuple[dict[str, tuple[str, ...]], dict[str, str]]) -> None:
    layout = lay_out(*drawn)
    assert {node.name for node in layout.nodes} == set(drawn[0])
    assert not [(a.name, b.name) for n, a in enumerate(layout.nodes) for b in layout.nodes[:n] if _overlap(a, b)]
    for node in layout.nodes:
        assert node.x >= 0
        assert node.y >= 0
        assert node.x + node.width <= layout.width
        assert node.y + node.height <= layout.height


@given(lineages())
def test_every_edge_goes_to_the_right_and_through_no_box(drawn: tuple[dict[str, tuple[str, ...]], dict[str, str]]) -> None:
    upstream, groups = drawn
    layout = lay_out(upstream, groups)
    assert sorted((e.upstream, e.name) for e in layout.edges) == sorted((up, name) for name, ups in upstream.items() for up in ups)
    for edge in layout.edges:
        assert all(left[0] < right[0] for left, right in pairwise(edge.points))
        assert not [node.name for node in layout.nodes if _through(edge, node)]


@given(lineages())
def test_an_edge_begins_at_what_the_asset_is_made_from_and_ends_at_the_asset(
    drawn: tuple[dict[str, tuple[str, ...]], dict[str, str]],
) -> None:
    layout = lay_out(*drawn)
    nodes = {node.name: node for node in layout.nodes}
    for edge in layout.edges:
        start, end = nodes[edge.upstream], nodes[edge.name]
        assert edge.points[0] == (start.x + start.width, start.y + start.height / 2)
        assert edge.points[-1] == (end.x, end.y + end.height / 2)


@given(lineages())
def test_what_is_left_out_follows_from_what_is_drawn(drawn: tuple[dict[str, tuple[str, ...]], dict[str, str]]) -> None:
    upstream = drawn[0]
    kept = essential(upstream)
    assert all(set(kept[name]) <= set(upstream[name]) for name in upstream)
    assert _above(kept) == _above(upstream)


def _above(upstream: dict[str, tuple[str, ...]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, ups in upstream.items():
        found[name] = set(ups).union(*(found[up] for up in ups))
    return found


def test_groups_stand_side_by_side_in_order() -> None:
    upstream = {"lake/a": (), "raw/a": ("lake/a",), "dim": ("raw/a",), "olap/dim": ("dim",), "late": ("dim",)}
    groups = {"lake/a": "Lake", "raw/a": "Raw", "dim": "Dimensions", "olap/dim": "ClickHouse", "late": "Dimensions"}
    layout = lay_out(upstream, groups)
    assert [group for group, _, _ in layout.headings] == ["Lake", "Raw", "Dimensions", "ClickHouse"]
    assert all(right < left for (_, _, right), (_, left, _) in pairwise(layout.headings))


def test_nothing_to_draw_is_an_empty_drawing() -> None:
    assert lay_out({}, {}).nodes == ()


def test_names_and_sentences_are_text_in_the_drawing() -> None:
    layout: Layout = lay_out({SCRIPT: ()}, {SCRIPT: SCRIPT})
    drawn = svg(layout, {SCRIPT: Said("done", "✓", SCRIPT, f'"{SCRIPT}')}, SCRIPT)
    assert SCRIPT not in drawn
    assert 'href="&quot;' in drawn
