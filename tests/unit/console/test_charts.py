"""Pictures: pure functions from data to SVG."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from sprat.hub.console import charts
from sprat.hub.console.charts import HeatRow, Segment, Series
from sprat.hub.console.pages.pictures import count_chart, latency_chart
from sprat.hub.queries.signals import Latency

HOSTILE = "</text><script>x</script>"


def titles(svg: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(svg).iter("title")]  # noqa: S314 - our own output


def classes(svg: str, tag: str) -> list[str]:
    return [node.get("class", "") for node in ET.fromstring(svg).iter(tag)]  # noqa: S314 - our own output


def test_a_bar_fills_its_share_and_says_it() -> None:
    svg = charts.bar([Segment("ok", 3, "done"), Segment("bad", 1, "failed"), Segment("wait", 0, "under way")], total=8)
    assert re.findall(r'x="([\d.]+)%" width="([\d.]+)%"', svg) == [("0", "37.5"), ("37.5", "12.5")]
    assert titles(svg) == ["done: 3", "failed: 1"]
    assert 'aria-label="done 3, failed 1, under way 0 of 8"' in svg


def test_an_empty_whole_draws_nothing_and_divides_by_nothing() -> None:
    assert "<rect" not in charts.bar([Segment("ok", 0, "done")], total=0)


def test_names_stay_text_in_every_chart() -> None:
    drawn = [
        charts.bar([Segment("ok", 1, HOSTILE)], total=1),
        charts.line_chart([Series("p50", HOSTILE, [1.0])], [HOSTILE], unit=HOSTILE, label=HOSTILE),
        charts.heatmap([HeatRow(HOSTILE, [0.5])], [HOSTILE], threshold=0.2, label=HOSTILE),
        charts.sparkline([1.0, 2.0], label=HOSTILE),
    ]
    for svg in drawn:
        assert "<script" not in svg
        ET.fromstring(svg)  # noqa: S314 - well-formed, or this raises


def test_a_heatmap_marks_what_is_above_the_threshold_by_more_than_colour() -> None:
    row = HeatRow("row 0", [None, 0.0, 0.06, 0.12, 0.2])
    svg = charts.heatmap([row], list("abcde"), threshold=0.2, label="drift")
    assert classes(svg, "rect") == ["h-none", "h0", "h1", "h2", "h3"]
    assert classes(svg, "circle") == ["mark"]
    assert "row 0, a: no data" in titles(svg)
    assert "row 0, e: 0.200" in titles(svg)


def test_the_legend_names_each_colour_of_the_map() -> None:
    assert [kind for kind, _ in charts.heat_legend(0.2)] == ["h-none", "h0", "h1", "h2", "h3"]
    assert charts.heat_legend(0.2)[-1][1] == "≥ 0.2 shift"


def test_a_line_goes_on_over_a_short_silence_and_breaks_over_a_long_one() -> None:
    values = [1.0, None, 1.0, None, None, None, 1.0, 2.0]
    svg = charts.line_chart([Series("p50", "p50", values)], [str(i) for i in range(8)], unit="ms", label="x")
    assert len(classes(svg, "polyline")) == 2
    assert "1: no data" in titles(svg)
    assert "7: p50 2 ms" in titles(svg)


def test_the_axis_ends_on_a_round_value_above_the_highest() -> None:
    svg = charts.line_chart([Series("p50", "p50", [0.0, 7.3])], ["a", "b"], unit="ms", label="x")
    ticks = [node.text for node in ET.fromstring(svg).iter("text")]  # noqa: S314 - our own output
    assert ticks[:4] == ["0", "2.5", "5", "7.5 ms"]


def test_latency_is_drawn_in_the_unit_that_suits() -> None:
    slow = Latency(slots_us=(0, 60_000_000), p50_us=(900.0, 950.0), p95_us=(None, 1500.0))
    fast = Latency(slots_us=(0,), p50_us=(3.4,), p95_us=(4.0,))
    assert latency_chart(slow).unit == "ms"
    assert latency_chart(slow).series[0].values == [None, 1.5]
    assert latency_chart(fast).unit == "µs"


def test_the_running_minute_is_not_drawn_as_a_fall() -> None:
    slots = (0, 60_000_000, 120_000_000)
    chart = count_chart(Latency(slots_us=slots, predictions=(60, 60, 3)))
    assert chart.series[0].values == [60.0, 60.0, None]
    assert chart.total == 123
    assert not count_chart(Latency(slots_us=slots, predictions=(0, 0, 0))).told
