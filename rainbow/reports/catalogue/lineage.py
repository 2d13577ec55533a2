"""Lineage as a layered drawing: what an asset is made from stands to its left, one column a layer, grouped by kind.

The layout follows Sugiyama, Tagawa and Toda (1981): layers by longest path, bends where an edge crosses a layer, the order within a
layer by barycentres, and heights by least squares under that order. Nothing here knows of states; ``svg`` takes what to say of
each asset.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from html import escape

Point = tuple[float, float]
# an item of a layer: an asset, or a bend of the edges that come from one and go further
_Item = tuple[str, int]

_CHARACTER, _LONGEST_LINE = 7.1, 17
_MARK, _PADDING = 24.0, 10.0
_LINE, _ONE_LINE = 14.0, 26.0
_BETWEEN, _BEND = 8.0, 4.0
_HEADING = 30.0
_SWEEPS, _STRAIGHT = 24, 12


@dataclass(frozen=True)
class Node:
    """An asset's box: its left upper corner and size, and its label by lines."""

    name: str
    lines: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Edge:
    """From what an asset is made to the asset: pairs of points, where the edge enters and leaves each layer it crosses."""

    upstream: str
    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Layout:
    """A drawing; ``headings`` are the groups with the left and right of their columns."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    headings: tuple[tuple[str, float, float], ...]
    width: float
    height: float


@dataclass(frozen=True)
class Said:
    """What the drawing says of an asset: a state's class, its mark, a sentence, and where a click leads; empty for nowhere."""

    state: str
    mark: str
    sentence: str
    url: str


def essential(upstream: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The same lineage without the edges that follow from others (its transitive reduction)."""
    above: dict[str, set[str]] = {}
    for name in _in_order(upstream):
        direct = [up for up in upstream[name] if up in upstream]
        above[name] = {*direct, *(further for up in direct for further in above[up])}
    return {
        name: tuple(up for up in direct if up in upstream and not any(up in above[other] for other in direct if other in upstream))
        for name, direct in upstream.items()
    }


def lay_out(upstream: Mapping[str, Sequence[str]], groups: Mapping[str, str], *, whole_names: bool = False) -> Layout:
    """The drawing of assets, of each what it is made from and its group; groups stand side by side in their first assets' order.

    A box says the last part of an asset's name, or with ``whole_names`` all of it.
    """
    layers = _layers(upstream, groups)
    columns, segments = _columns(upstream, layers)
    columns = _ordered(columns, segments)
    lines = {name: _lines(name if whole_names else name.rpartition("/")[2]) for name in upstream}
    heights = {
        item: _BEND if item[0] not in lines or layers[item[0]] != item[1] else _height(lines[item[0]]) for c in columns for item in c
    }
    centres = _centres(columns, segments, heights)
    lefts, rights, width = _sides(columns, layers, lines, segments)
    top = min((centres[i] - heights[i] / 2 for i in heights), default=0.0)
    bottom = max((centres[i] + heights[i] / 2 for i in heights), default=0.0)
    at = {item: centre - top + _HEADING for item, centre in centres.items()}
    nodes = [
        Node(
            name, lines[name], lefts[layer], at[name, layer] - heights[name, layer] / 2, rights[layer] - lefts[layer], heights[name, layer]
        )
        for name, layer in layers.items()
    ]
    edges = [
        Edge(up, name, tuple(_route(up, name, layers, at, lefts, rights))) for name, ups in upstream.items() for up in ups if up in upstream
    ]
    return Layout(tuple(nodes), tuple(edges), tuple(_headings(layers, groups, lefts, rights)), width, bottom - top + _HEADING + 2)


def svg(layout: Layout, said: Mapping[str, Said], label: str) -> str:
    """The drawing as SVG; its colours are the page's, by the classes of the states."""
    parts = [
        f'<svg class="rw-lineage" viewBox="0 0 {layout.width:.0f} {layout.height:.0f}" style="--natural:{layout.width:.0f}px" '
        f'role="group" aria-label="{escape(label, quote=True)}">'
    ]
    for group, left, right in layout.headings:
        parts.append(f'<text class="rw-group" x="{left:.0f}" y="13">{escape(group)}</text>')
        parts.append(f'<path class="rw-rule" d="M{left:.0f} 20H{right:.0f}"/>')
    numbers = {node.name: number for number, node in enumerate(layout.nodes)}
    parts.extend(
        f'<path class="rw-edge" data-from="{numbers[edge.upstream]}" data-to="{numbers[edge.name]}" d="{_path(edge.points)}"/>'
        for edge in layout.edges
    )
    parts.extend(_node(node, numbers[node.name], said[node.name]) for node in layout.nodes)
    return "".join((*parts, "</svg>"))


def _node(node: Node, number: int, said: Said) -> str:
    """An asset's box; the same box without a link where it leads nowhere."""
    middle = node.y + node.height / 2
    first = middle - _LINE * (len(node.lines) - 1) / 2
    text = "".join(
        f'<text x="{node.x + _MARK + 7:.1f}" y="{first + n * _LINE + 4.3:.1f}">{escape(line)}</text>' for n, line in enumerate(node.lines)
    )
    box = f'x="{node.x:.1f}" y="{node.y:.1f}" height="{node.height:.1f}" rx="5"'
    tag, link = ("a", f' href="{escape(said.url, quote=True)}"') if said.url else ("g", "")
    return (
        f'<{tag} class="rw-node rw-{said.state}" data-node="{number}"{link}><title>{escape(said.sentence)}</title>'
        f'<rect class="rw-box" {box} width="{node.width:.1f}"/><rect class="rw-side" {box} width="{_MARK}"/>'
        f'<text class="rw-sign" aria-hidden="true" x="{node.x + _MARK / 2:.1f}" y="{middle + 4.3:.1f}">{said.mark}</text>{text}</{tag}>'
    )


def _path(points: Sequence[Point]) -> str:
    """Curves between layers, straight through them."""
    (x, y), *rest = points
    drawn = [f"M{x:.1f} {y:.1f}"]
    for position, (right, lower) in enumerate(rest):
        if position % 2:
            drawn.append(f"H{right:.1f}")
        else:
            middle = (x + right) / 2
            drawn.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {lower:.1f} {right:.1f} {lower:.1f}")
        x, y = right, lower
    return "".join(drawn)


def _in_order(upstream: Mapping[str, Sequence[str]]) -> list[str]:
    return list(TopologicalSorter({n: [u for u in ups if u in upstream] for n, ups in upstream.items()}).static_order())


def _layers(upstream: Mapping[str, Sequence[str]], groups: Mapping[str, str]) -> dict[str, int]:
    """The layer of each asset: after all that it is made from, and after the groups before its own."""
    ordered = _in_order(upstream)
    found: dict[str, int] = {}
    for group in dict.fromkeys(groups[name] for name in upstream):
        start = max(found.values(), default=-1) + 1
        for name in (one for one in ordered if groups[one] == group):
            found[name] = max([start, *(found[up] + 1 for up in upstream[name] if up in found)])
    for name in ordered:
        found[name] = max([found[name], *(found[up] + 1 for up in upstream[name] if up in found)])
    # a layer that all its assets have left for a later one is none
    numbers = {layer: number for number, layer in enumerate(sorted(set(found.values())))}
    return {name: numbers[found[name]] for name in upstream}


def _columns(upstream: Mapping[str, Sequence[str]], layers: Mapping[str, int]) -> tuple[list[list[_Item]], set[tuple[_Item, _Item]]]:
    """The items of each layer, and the segments between neighbouring layers. Edges of one origin share their bends."""
    columns: list[list[_Item]] = [[] for _ in range(max(layers.values(), default=-1) + 1)]
    for name, layer in layers.items():
        columns[layer].append((name, layer))
    segments: set[tuple[_Item, _Item]] = set()
    for name, ups in upstream.items():
        for up in ups:
            if up not in layers:
                continue
            for layer in range(layers[up] + 1, layers[name]):
                if (up, layer) not in columns[layer]:
                    columns[layer].append((up, layer))
                segments.add(((up, layer - 1), (up, layer)))
            segments.add(((up, layers[name] - 1), (name, layers[name])))
    return columns, segments


def _ordered(columns: list[list[_Item]], segments: set[tuple[_Item, _Item]]) -> list[list[_Item]]:
    """The order within each layer that has the fewest crossings of those that the sweeps find."""
    before, after = _neighbours(segments)
    best, fewest = [list(column) for column in columns], _crossings(columns, after)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        beside = before if down else after
        for column in columns if down else reversed(columns):
            places = {item: place for other in columns for place, item in enumerate(other)}
            wanted = {item: _mean([places[one] for one in beside[item]], places[item]) for item in column}
            column.sort(key=lambda item: wanted[item])
        crossings = _crossings(columns, after)
        if crossings < fewest:
            best, fewest = [list(column) for column in columns], crossings
    return best


def _crossings(columns: Sequence[Sequence[_Item]], after: Mapping[_Item, Sequence[_Item]]) -> int:
    places = {item: place for column in columns for place, item in enumerate(column)}
    count = 0
    for column in columns:
        ends = [places[end] for item in column for end in sorted(after[item], key=places.__getitem__)]
        count += sum(later < earlier for n, earlier in enumerate(ends) for later in ends[n + 1 :])
    return count


def _centres(columns: Sequence[Sequence[_Item]], segments: set[tuple[_Item, _Item]], heights: Mapping[_Item, float]) -> dict[_Item, float]:
    """The height of each item's middle: as near to its neighbours' as the order and the room allow."""
    before, after = _neighbours(segments)
    centres: dict[_Item, float] = {}
    for column in columns:
        offsets = _offsets(column, heights)
        middle = (offsets[-1] if offsets else 0.0) / 2
        centres |= {item: offset - middle for item, offset in zip(column, offsets, strict=True)}
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            wanted = [_mean([centres[one] for one in _pulls(item, before, after)], centres[item]) for item in column]
            offsets = _offsets(column, heights)
            placed = _rising([want - offset for want, offset in zip(wanted, offsets, strict=True)])
            centres |= {item: base + offset for item, base, offset in zip(column, placed, offsets, strict=True)}
    return centres


def _pulls(item: _Item, before: Mapping[_Item, Sequence[_Item]], after: Mapping[_Item, Sequence[_Item]]) -> list[_Item]:
    """An item's neighbours; where an edge goes on as itself it counts more, so that it goes straight."""
    return [near for near in (*before[item], *after[item]) for _ in range(_STRAIGHT if near[0] == item[0] else 1)]


def _rising(wanted: Sequence[float]) -> list[float]:
    """The rising row nearest to ``wanted`` by least squares (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for value in wanted:
        total, count = value, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            more, others = pools.pop()
            total, count = total + more, count + others
        pools.append((total, count))
    return [total / count for total, count in pools for _ in range(count)]


def _offsets(column: Sequence[_Item], heights: Mapping[_Item, float]) -> list[float]:
    """The middles of a column's items when they stand as close as they may."""
    offsets: list[float] = []
    for number, item in enumerate(column):
        offsets.append(offsets[-1] + (heights[column[number - 1]] + heights[item]) / 2 + _BETWEEN if number else 0.0)
    return offsets


def _sides(
    columns: Sequence[Sequence[_Item]],
    layers: Mapping[str, int],
    lines: Mapping[str, Sequence[str]],
    segments: set[tuple[_Item, _Item]],
) -> tuple[list[float], list[float], float]:
    """Left and right of each column, and the whole width: more room where more edges bend."""
    widths = [0.0] * len(columns)
    for name, layer in layers.items():
        widths[layer] = max(widths[layer], _MARK + _PADDING * 2 + _CHARACTER * max(len(line) for line in lines[name]))
    bending = defaultdict(set)
    for start, end in segments:
        if start[0] != end[0]:
            bending[end[1]].add((start, end))
    lefts, rights, x = [], [], 1.0
    for layer, width in enumerate(widths):
        x += min(26 + 1.6 * len(bending[layer]), 52) if layer else 0
        lefts.append(x)
        rights.append(x + width)
        x += width
    return lefts, rights, x + 1


def _route(
    up: str, name: str, layers: Mapping[str, int], at: Mapping[_Item, float], lefts: Sequence[float], rights: Sequence[float]
) -> Iterable[Point]:
    yield rights[layers[up]], at[up, layers[up]]
    for layer in range(layers[up] + 1, layers[name]):
        yield lefts[layer], at[up, layer]
        yield rights[layer], at[up, layer]
    yield lefts[layers[name]], at[name, layers[name]]


def _headings(
    layers: Mapping[str, int], groups: Mapping[str, str], lefts: Sequence[float], rights: Sequence[float]
) -> Iterable[tuple[str, float, float]]:
    for group in dict.fromkeys(groups[name] for name in layers):
        own = [layers[name] for name in layers if groups[name] == group]
        yield group, lefts[min(own)], rights[max(own)]


def _neighbours(segments: Iterable[tuple[_Item, _Item]]) -> tuple[dict[_Item, list[_Item]], dict[_Item, list[_Item]]]:
    before: dict[_Item, list[_Item]] = defaultdict(list)
    after: dict[_Item, list[_Item]] = defaultdict(list)
    for start, end in sorted(segments):
        after[start].append(end)
        before[end].append(start)
    return before, after


def _lines(label: str) -> tuple[str, ...]:
    """The label, in two lines where it is long, parted at an underscore."""
    if len(label) <= _LONGEST_LINE:
        return (label,)
    parts = [n + 1 for n, letter in enumerate(label) if letter in "_/" and n + 1 < len(label)]
    at = min(parts, key=lambda n: max(n, len(label) - n), default=None)
    return (label,) if at is None else (label[:at], label[at:])


def _height(lines: Sequence[str]) -> float:
    return _ONE_LINE + _LINE * (len(lines) - 1)


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
