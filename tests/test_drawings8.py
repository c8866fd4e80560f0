"""The drawings of chapter 8: what is bold is a path, and it shows in light and dark."""

import re
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest

from cisp_book.drawings8 import COLORS, PANELS, Panel, paths

BOOK = Path(__file__).parent.parent / "book"
NAMED = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)


def drawings() -> list[Element]:
    return list(fromstring(paths().data))


@NAMED
def test_a_path_leads_from_where_its_signal_is_through_a_circuit_to_where_t_reads(
    panel: Panel,
) -> None:
    for signal, start, through, end in panel.path:
        assert start in panel.below[signal]
        assert start in panel.below[through]
        assert end in panel.above[through]
        assert end in panel.above["t"]


def test_self_and_others_take_the_meetings_that_the_chapter_says_and_previous_none() -> None:
    ways = [
        [(signal, through) for signal, _, through, _ in panel.path]
        for panel in PANELS
        if panel.title != "previous"
    ]
    assert ways == [[("t", "u")], [("v", "v"), ("v", "u")]]
    assert {(s, u) for s, _, u, _ in PANELS[2].path} == {("t", "t")}


@NAMED
def test_two_circuits_share_at_most_one_position_a_layer(panel: Panel) -> None:
    for rows in (panel.below, panel.above):
        for t in rows:
            assert all(len({*rows[t]} & {*rows[u]}) <= 1 for u in rows if u != t)


def test_the_page_knows_them_as_drawings_which_take_its_colours() -> None:
    rule = (
        'html[data-theme="dark"] .bd-content .bd-article div.cell_output .text_html:has(.drawing)'
    )
    assert fromstring(paths().data).get("class") == "drawing"
    assert rule in (BOOK / "_static" / "book.css").read_text(encoding="utf-8")


def test_a_drawing_has_its_words_and_only_colours_that_show_on_light_and_dark() -> None:
    for panel, drawing in zip(PANELS, drawings(), strict=True):
        assert drawing.get("role") == "img"
        assert drawing.get("aria-label") == f"{panel.title}: {panel.says}"
        assert drawing.get("fill") == "currentColor"
        found = {e.get(k) for e in drawing.iter() for k in ("fill", "stroke")} - {None}
        assert found <= {*COLORS.values(), "none"}


def test_everything_drawn_is_within_its_frame_in_tenths_of_a_pixel() -> None:
    for drawing in drawings():
        _, _, width, height = map(float, drawing.attrib["viewBox"].split())
        for e in drawing:
            across = [e.get(k) for k in ("x", "x1", "x2", "cx") if e.get(k)]
            down = [e.get(k) for k in ("y", "y1", "y2", "cy") if e.get(k)]
            corners = re.split("[ ,]", e.get("points", ""))
            numbers = [*across, *down, *(c for c in corners if c)]
            assert all(re.fullmatch(r"\d+(\.\d)?", str(number)) for number in numbers)
            assert all(float(str(number)) <= width for number in [*across, *corners[::2]] if number)
            assert all(float(str(number)) <= height for number in [*down, *corners[1::2]])


def test_the_drawings_are_the_same_each_time() -> None:
    assert paths().data == paths().data
