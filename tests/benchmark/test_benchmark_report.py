"""Rows and tables of figures."""

import json
import math

import pytest

from benchmark.cases import Load, ladder, our_cases, with_extra
from benchmark.films import FilmTimes
from benchmark.loader import LoaderTimes
from benchmark.report import film_row, loader_row, make_rows
from benchmark.tables import make_sections, markdown_section, significant, text_section
from benchmark.timing import Measured
from benchmark.work import Work

RATES = {"fp32": 1e12, "bf16": 4e12}
KINDS = {"train": ("without D", "with D"), "inference": ("predict",)}


def measure_by_hand(load, **times):
    """Rows of a ladder, each as many seconds as it is given, for one repeat."""
    cases = ladder(load, ["fp32", "bf16"], baseline=True, can_keep=True, on_cpu=True)
    measured = [
        Measured(
            case,
            {kind: [seconds] for kind in KINDS[load.what]},
            {kind: Work(2 * 10**12, 0) for kind in KINDS[load.what]},
            peak_bytes=2**30,
        )
        for case, seconds in zip(cases, times["seconds"], strict=True)
    ]
    return make_rows("ladder", measured, RATES)


def figures_of(rows, what, loader=(), films=()):
    machine = {"cpu": "Some CPU", "cores": 2, "threads": 2, "torch": "2.x"}
    options = {"what": [what], "repeats": 1, "ngf": 64, "ndf": 64}
    return {
        "machine": machine,
        "options": options,
        "parameters": {"net_G": 182436993},
        "product_flops_per_s": RATES,
        "cases": rows,
        "loader": list(loader),
        "films": list(films),
    }


def test_ratios_are_consistent():
    rows = measure_by_hand(Load("train", 64, 1), seconds=(12.0, 6.0, 5.0, 4.0, 4.0, 4.0, 4.0, 2.0, 1.0))
    assert [row["times_published"] for row in rows] == pytest.approx([1, 2, 2.4, 3, 3, 3, 3, 6, 12])
    assert [row["times_before"] for row in rows] == [None, *map(pytest.approx, (2, 1.2, 1.25, 1, 1, 1, 2, 2))]
    assert math.prod(row["times_before"] for row in rows[1:]) == pytest.approx(rows[-1]["times_published"])


def test_share_is_of_the_products_in_the_same_precision():
    rows = measure_by_hand(Load("train", 64, 1), seconds=(8.0,) * 7 + (4.0, 2.0))
    fp32, bf16 = rows[-2:]
    assert (fp32["flops_per_s"], fp32["share_of_product"]) == pytest.approx((0.5e12, 0.5))
    assert (bf16["flops_per_s"], bf16["share_of_product"]) == pytest.approx((1e12, 0.25))


def test_extra_is_compared_with_ours_and_with_nothing_else():
    ours = our_cases(ladder(Load("train", 64, 1), ["fp32"], baseline=True, can_keep=True, on_cpu=True))
    measured = [
        Measured(case, {"without D": [seconds], "with D": [seconds]})
        for case, seconds in zip(with_extra(ours, "compile"), (3.0, 2.0), strict=True)
    ]
    rows = make_rows("compile", measured, RATES)
    assert [row["times_before"] for row in rows] == [None, pytest.approx(1.5)]
    assert [row["times_published"] for row in rows] == [None, None]
    assert rows[1]["flops"] is None
    assert make_rows("compile", [], RATES) == []


def test_rows_are_plain_values():
    rows = measure_by_hand(Load("train", 64, 1), seconds=(1.0,) * 9)
    assert json.loads(json.dumps(rows)) == rows


def test_table_of_training():
    rows = measure_by_hand(Load("train", 64, 1), seconds=(12.3456, 6.0, 5.0, 4.0, 4.0, 4.0, 4.0, 2.0, 1.0))
    section = make_sections(figures_of(rows, "train"))["train"]
    lines = markdown_section(section).splitlines()
    assert lines[0] == (
        "Some CPU, 2 cores (2 threads), PyTorch 2.x, median of 1 repeats. ngf 64, ndf 64 (weights: net_G 182.4 M). "
        "Fastest product of two matrices: fp32 1 TFLOP/s, bf16 4 TFLOP/s."
    )
    assert lines[2] == "**64 x 64 pixels, batch 1**"
    assert lines[4] == "|  | s | shortest s | × before | × published | TFLOP | TFLOP/s | % of product | peak GiB |"
    assert lines[6] == "| published | 12.3 | 12.3 | – | 1 | 2 | 0.162 | 16.2 | 1 |"
    assert lines[7] == "| + memory kept | 6 | 6 | 2.06 | 2.06 | 2 | 0.333 | 33.3 | 1 |"
    assert "published" in text_section(section)


def test_table_of_inference_is_a_rate_of_images():
    rows = measure_by_hand(Load("inference", 64, 4), seconds=(2.0,) + (1.0,) * 6 + (0.5,))
    lines = markdown_section(make_sections(figures_of(rows, "inference"))["inference"]).splitlines()
    assert lines[4].startswith("|  | images/s | ms an image | × before | × published | GFLOP an image |")
    assert lines[6].startswith("| published | 2 | 500 | – | 1 | 500 |")
    assert lines[-1].startswith("| ours, bf16 | 8 | 125 | 2 | 4 | 500 |")


def test_table_of_the_loader():
    times = [
        LoaderTimes(stream, 64, 4, workers, [1.0, seconds, 9.0])
        for stream, seconds in (("pairs", 2.0), ("clips", 4.0))
        for workers in (0, 2)
    ]
    figures = figures_of([], "loader", map(loader_row, times))
    lines = markdown_section(make_sections(figures)["loader"]).splitlines()
    assert lines[4] == "|  | pairs/s | clips/s |"
    assert lines[6:] == ["| in the main process | 2 | 1 |", "| 2 loader processes | 2 | 1 |"]


def test_table_of_the_loader_says_what_training_needs_and_which_number_of_processes_gives_it():
    cases = measure_by_hand(Load("train", 64, 3), seconds=(2.0,) + (1.0,) * 8)
    times = [
        LoaderTimes(stream, 64, 4, workers, [4 / rate])
        for stream, rates in (("pairs", (2.0, 2.9, 3.5)), ("packed pairs", (5.0, 9.0, 9.0)))
        for workers, rate in zip((0, 1, 2), rates, strict=True)
    ]
    table = make_sections(figures_of(cases, "loader", map(loader_row, times)))["loader"].tables[0]
    assert table.rows["needed by our fastest step"] == {"pairs/s": 3, "packed pairs/s": 3}
    assert table.rows["loader processes that reach it"] == {"pairs/s": 2, "packed pairs/s": 0}
    slow = [LoaderTimes("pairs", 64, 4, 0, [4.0])]
    table = make_sections(figures_of(cases, "loader", map(loader_row, slow)))["loader"].tables[0]
    assert table.rows["loader processes that reach it"] == {}


def test_table_of_films():
    times = FilmTimes(480, 640, 300, 150, [1.0, 2.0, 3.0], [4.0, 6.0, 30.0])
    section = make_sections(figures_of([], "films", films=[film_row(times)]))["films"]
    assert section.tables[0].rows == {"640 x 480": {"decoded frames/s": 150, "prepared frames/s": 50, "% kept": 50}}


def test_numbers_have_three_digits():
    assert [significant(value) for value in (123456.0, 1.23456, 0.00123456, 0.0)] == [123000.0, 1.23, 0.00123, 0.0]
