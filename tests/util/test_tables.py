import csv
import math

import pytest

from util.metrics import METRICS
from util.tables import METRIC_STYLES, csv_table, format_table, markdown_table, metric_columns, metric_style, write_csv

ROWS = {
    "ours": {"rmse": 4.1278, "abs_rel": 0.08512, "delta1": 0.9514},
    "constant depth": {"rmse": 21.5, "abs_rel": 0.4, "delta1": math.nan, "frames": 12000},
}


def test_every_metric_has_its_style_and_knows_its_better_end():
    assert set(METRICS) | {"temporal_grad", "temporal_rel"} <= set(METRIC_STYLES)
    higher = {key for key, style in METRIC_STYLES.items() if style.better == "higher"}
    assert higher == {"delta1", "delta2", "delta3"}
    neither = {key for key, style in METRIC_STYLES.items() if style.better is None}
    facts = {"num_points", "overlap", "share_used", "residual_std_mm"}  # of what was scored, not of how good it is
    assert neither == {"scale_mean", "scale_std", "path_mm", "path_scale"} | facts
    assert all(style.better == "lower" for key, style in METRIC_STYLES.items() if key not in higher | neither)


def test_headings_hold_title_unit_and_direction():
    assert metric_style("rmse").heading() == "RMSE [mm] ↓"
    assert metric_style("delta1").heading() == "δ < 1.25 ↑"
    assert metric_style("frames").heading() == "frames"


def test_values_are_rounded_for_their_metric():
    assert metric_style("abs_rel").show(0.08512) == "0.085"
    assert metric_style("rmse").show(4.1278) == "4.13"
    assert metric_style("l1_cm").show(0.03279) == "0.0328"
    assert metric_style("frames").show(12000) == "12000"
    assert metric_style("rmse").show(math.nan) == metric_style("rmse").show(None) == "–"


def test_columns_come_in_the_order_of_the_metrics_then_the_unknown_ones():
    assert metric_columns(ROWS) == ["abs_rel", "rmse", "delta1", "frames"]


def test_the_text_table_is_aligned_and_complete():
    lines = format_table(ROWS, corner="method").splitlines()
    heading, rule, ours, constant = lines
    assert heading.split() == ["method", "AbsRel", "↓", "RMSE", "[mm]", "↓", "δ", "<", "1.25", "↑", "frames"]
    assert set(rule) == {"─", " "}
    assert ours.split() == ["ours", "0.085", "4.13", "0.951", "–"]
    assert constant.split() == ["constant", "depth", "0.400", "21.50", "–", "12000"]
    end = heading.index("RMSE [mm] ↓") + len("RMSE [mm] ↓")
    assert ours[:end].endswith("4.13")
    assert constant[:end].endswith("21.50")


def test_given_columns_decide_what_is_shown():
    assert format_table(ROWS, ["rmse"]).splitlines()[2].split() == ["ours", "4.13"]


def test_markdown_has_a_cell_for_each_value_and_escapes_bars():
    lines = markdown_table({"|d - d*|": {"rmse": 1.0}}, corner="what").splitlines()
    assert lines == ["| what | RMSE [mm] ↓ |", "| :--- | ---: |", "| \\|d - d*\\| | 1.00 |"]


def test_csv_keeps_keys_full_precision_and_gaps(tmp_path):
    rows = {'a, "quoted" name': {"rmse": 1 / 3}, "b": {"abs_rel": 0.1, "rmse": 2}}
    write_csv(tmp_path / "new" / "scores.csv", rows)
    with (tmp_path / "new" / "scores.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert read[0] == {"name": 'a, "quoted" name', "abs_rel": "", "rmse": repr(1 / 3)}
    assert float(read[1]["rmse"]) == 2.0


@pytest.mark.parametrize("table", [format_table, markdown_table, csv_table])
def test_no_rows_still_make_a_heading(table):
    assert "AbsRel" in table({}, ["abs_rel"]) or "abs_rel" in table({}, ["abs_rel"])
