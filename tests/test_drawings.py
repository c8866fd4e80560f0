"""The drawings: what they show is what the package has, and it can be read."""

import re
from collections.abc import Callable
from itertools import combinations
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
from IPython.display import HTML

import cisp
from cisp_book import drawings
from cisp_book.networks import rotation_network
from cisp_book.strip import STRAY
from cisp_book.svg import FIRST, SECOND

Box = tuple[float, float, float, float]
TABLE = cisp.prime_steps(T=7, n=12, S=3)


def two_numbers() -> cisp.Network:
    """Two circuits of one neuron on positions 0, 1 and 1, 2, before and after."""
    circuits = cisp.SmallCircuits(w=torch.tensor([[[3.0]], [[1.0]]]), b=torch.tensor([-1.0]))
    return cisp.superpose(
        circuits, D=3, S=2, L=2, allocate=lambda T, n, S: np.array([[0, 1], [1, 2]])
    )


def entries() -> HTML:
    network = two_numbers()
    return drawings.entries(network.tables.numpy(), n=3, chi=network.chi[1].item())


def circuit() -> HTML:
    circuits = cisp.conditional_rotations(T=1, rng=0)
    return drawings.circuit(circuits.w[0].numpy(), circuits.b.numpy())


DRAWINGS: dict[str, Callable[[], HTML]] = {
    "circuit": circuit,
    "blocks": lambda: drawings.blocks(TABLE, n=12, pair=(1, 4)),
    "entries": entries,
    "readout": lambda: drawings.readout(np.array([[1.0] * 6, [0, 0, 1, 0, 0, 0]])),
    "links": drawings.links,
    "strip": drawings.strip,
}
each = pytest.mark.parametrize("name", DRAWINGS)


def tree(drawn: HTML) -> ET.Element:
    return ET.fromstring(drawn.data)


def pictures(root: ET.Element) -> list[ET.Element]:
    return [root] if root.tag == "svg" else root.findall("svg")


def box(words: ET.Element) -> Box:
    """Left, top, right, bottom of a text, its letters taken as 8 of 14 pixels wide on average."""
    x, y, width = float(words.attrib["x"]), float(words.attrib["y"]), 8 * len(words.text or "")
    left = x - width * {"start": 0, "middle": 0.5, "end": 1}[words.attrib["text-anchor"]]
    return left, y - 11, left + width, y + 3


def lines(root: ET.Element, **attributes: str) -> list[Box]:
    found = [e for e in root.iter("line") if attributes.items() <= e.attrib.items()]
    return [tuple(float(e.attrib[k]) for k in ("x1", "y1", "x2", "y2")) for e in found]  # type: ignore[misc]


@each
def test_a_drawing_is_described_in_words_and_is_the_same_each_time(name: str) -> None:
    drawn = DRAWINGS[name]()
    root = tree(drawn)
    assert root.attrib["role"] == "img"
    assert len(root.attrib["aria-label"].split()) > 10
    assert drawn.data == DRAWINGS[name]().data
    assert not re.search(r"\.\d\d", re.sub(r'aria-label="[^"]*"|>[^<]*<', "", drawn.data))


@each
def test_words_lie_in_the_picture_and_on_no_other_words(name: str) -> None:
    for picture in pictures(tree(DRAWINGS[name]())):
        _, _, width, height = map(float, picture.attrib["viewBox"].split())
        boxes = [box(words) for words in picture.iter("text")]
        assert all(0 <= b[0] and 0 <= b[1] and b[2] <= width and b[3] <= height for b in boxes)
        for a, b in combinations(boxes, 2):
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@each
def test_words_are_14_pixels_high_on_a_phone(name: str) -> None:
    for picture in pictures(tree(DRAWINGS[name]())):
        assert picture.attrib["font-size"] == "14"
        assert float(picture.attrib["viewBox"].split()[2]) <= 360  # of 375


def test_the_circuit_has_the_weights_and_biases_of_the_package() -> None:
    circuits = cisp.conditional_rotations(T=1, rng=0)
    words = [words.text for words in tree(circuit()).iter("text")]
    c, s = circuits.w[0, 2, 2].item(), circuits.w[0, 3, 2].item()
    turn = torch.tensor([[c, -s], [s, c]])
    assert torch.allclose(circuits.w[0, 2:, 2:], turn)  # what c, s and −s stand for
    assert circuits.w[0, :2].tolist() == [[2, -2, 0, 0]] * 2
    assert {"2", "−2", "c", "s", "−s"} <= set(words)
    assert [w for w in words if w and re.match(r"−[01]", w)] == ["−0.5", "−1.5", "−1", "−1"]
    assert [w for w in words if w and "gate" in w] == [
        "on, α = 1: gate +1",
        "off, α = 0: gate −1",
    ]


def test_blocks_show_two_rows_of_the_table_in_each_block() -> None:
    root = tree(DRAWINGS["blocks"]())
    at = [round(15 + 27.5 * (p + 0.5), 1) for p in range(12)]
    for y in (68, 116, 164, 212):
        for t, color in ((1, FIRST), (4, SECOND)):
            alone = set(TABLE[t].tolist()) - set(TABLE[5 - t].tolist())
            found = [
                e for e in root.iter("circle") if (e.get("fill"), e.get("cy")) == (color, f"{y}.0")
            ]
            assert {at.index(float(e.attrib["cx"])) for e in found} == alone
    assert len(list(root.iter("path"))) == 2 * 4  # two halves where they meet, in each block


def test_blocks_want_two_circuits_that_meet_once() -> None:
    with pytest.raises(ValueError, match=r"circuits \(0, 1\) share 0 positions; allowed: 1"):
        drawings.blocks(TABLE, n=12, pair=(0, 1))


def test_the_lines_of_an_embedding_matrix_are_its_entries() -> None:
    network, root = two_numbers(), tree(entries())
    W_emb, at = network.W_emb(2), [70, 180, 290]

    def drawn(**attributes: str) -> set[tuple[int, int]]:
        inside = [ends for ends in lines(root, **attributes) if ends[1] < 230]
        # a gap at each end leaves a line on its way: prolonged, it starts and ends on positions
        start = [x1 + (196 - y1) * (x2 - x1) / (y2 - y1) for x1, y1, x2, y2 in inside]
        end = [x1 + (40 - y1) * (x2 - x1) / (y2 - y1) for x1, y1, x2, y2 in inside]
        near = [
            (np.abs(np.subtract(at, p)).argmin(), np.abs(np.subtract(at, q)).argmin())
            for q, p in zip(start, end, strict=True)
        ]
        return {(int(p), int(q)) for p, q in near}

    linked = drawn(stroke=FIRST) | drawn(stroke=SECOND)
    assert linked == {(p, q) for p in range(3) for q in range(3) if W_emb[p, q] == 0.5}
    assert drawn(**{"stroke-dasharray": "2 5"}) == {(0, 2), (2, 0)}
    assert W_emb[0, 2] == W_emb[2, 0] == -1.5
    assert "−χ = −1.5" in [words.text for words in root.iter("text")]


def test_a_read_out_is_the_average_of_its_boxes() -> None:
    values = np.array([[1.0, 0.5, 0.3], [0, 1, 0]])
    words = [words.text for words in tree(drawings.readout(values)).iter("text")]
    assert words == [
        "active",
        "1",
        "0.5",
        "0.3",
        "0.60",
        "inactive, meets it once",
        "0",
        "1",
        "0",
        "0.33",
    ]


def test_three_links_wake_the_neuron_that_two_leave_off() -> None:
    network = rotation_network(557, 1000, S=6)
    root, chi = tree(drawings.links()), network.chi[1].item()
    words = [words.text or "" for words in root.iter("text")]
    for h in (2, 3):
        arrives = f"{2 * (h / 6 - (6 - h) * chi):.2f}"
        assert f"{h} links" in words
        assert any(w.startswith(arrives) and w.endswith("on" if h == 3 else "off") for w in words)
    assert len(lines(root, stroke=FIRST)) == 2 + 3
    assert len(lines(root)) == 2 * 6


def test_the_strip_shows_the_neurons_that_are_on() -> None:
    network = rotation_network(557, 1000, S=6)
    a0 = network.circuits.sample_inputs(batch=1, z=1, rng=0)
    on = (network(network.embed(a0, torch.tensor([[0]])))[-1, 0, 0] > 1e-4).sum().item()
    seizure, cure = pictures(tree(drawings.strip()))[2:]
    assert [s.findtext("text") for s in (seizure, cure)] == [
        f"seizure: {on} on",
        "cure: 6 on",
    ]
    strokes = [
        {p.get("stroke"): p.attrib["d"].count("M") for p in s.iter("path")} for s in (seizure, cure)
    ]
    asked = set(network.tables[-1, 0].tolist())
    (drawn,) = (p.attrib["d"] for p in seizure.iter("path") if p.get("stroke") == FIRST)
    places = [(float(x), float(y)) for x, y in re.findall(r"M([\d.]+) ([\d.]+)", drawn)]
    assert {round((x - 7.5) / 9 + 16 * (y - 7.5) / 9) for x, y in places} == asked
    assert strokes[0][FIRST] == len(asked) == strokes[1][FIRST] == 6
    assert strokes[0][STRAY] <= on <= strokes[0][STRAY] + 6
    assert STRAY not in strokes[1]
