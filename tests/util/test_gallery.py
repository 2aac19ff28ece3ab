import math
from html.parser import HTMLParser
from urllib.parse import unquote

import cv2
import numpy as np
import pytest

from util.colormap import colorize_error, sample_colors
from util.gallery import ColorScale, GalleryRow, TrainingEntry, write_gallery, write_training_page
from util.html_page import picture_url

AWKWARD = "a <b>\"bold\" & 'odd'</b> #3 50%?"
COLUMNS = ["abs_rel", "delta1", "acc@2cm"]
SUMMARY = {
    "Not aligned": {"ours": {"abs_rel": 0.08, "delta1": 0.95}, "constant": {"abs_rel": 0.41, "delta1": 0.31}},
    "Median-scaled": {"ours": {"abs_rel": 0.07, "delta1": math.nan}},
}
VOID = {"meta", "img", "input", "br", "link", "hr"}


class Page(HTMLParser):
    """All elements as (tag, attributes), their texts, and whether every tag is closed."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.texts = [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag, cls=None):
        return [a for t, a in self.elements if t == tag and (cls is None or cls in (a.get("class") or "").split())]

    def text(self, tag):
        return [text for t, text in self.texts if t == tag]

    def linked(self):
        return [a[name] for _, a in self.elements for name in ("src", "href") if a.get(name)]


def save(folder, name, size=(6, 8)):
    (folder / "images").mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "images" / name), np.zeros((*size, 3), dtype=np.uint8))
    return f"images/{name}"


def gallery_row(folder, name, captions=("Input", "Depth", "Truth", "Error"), **metrics):
    file_name = name.replace("/", "_")
    return GalleryRow(name, {c: save(folder, f"{file_name} {c}.png") for c in captions}, metrics)


def rows(folder):
    return [
        gallery_row(folder, "frame_0001", abs_rel=0.1234567890123, delta1=0.9, **{"acc@2cm": 0.5}),
        gallery_row(folder, AWKWARD, abs_rel=math.nan, delta1=math.inf),
        gallery_row(folder, "no truth", captions=("Input", "Depth")),
    ]


def assert_offline(page, folder):
    assert "http:" not in page.source
    assert "https:" not in page.source
    assert "@import" not in page.source
    for link in page.linked():
        assert (folder / unquote(link)).is_file(), link


@pytest.fixture
def page(tmp_path):
    write_gallery(
        tmp_path / "index.html",
        rows(tmp_path),
        COLUMNS,
        SUMMARY,
        "Results <1>",
        facts={"Data": "a & b"},
        scales=[ColorScale("Depth", 200), ColorScale("Error", 7.5, colorize=colorize_error)],
    )
    return Page(tmp_path / "index.html")


def test_every_linked_file_exists_and_nothing_comes_from_the_net(page, tmp_path):
    assert_offline(page, tmp_path)
    assert len(page.all("img")) == 4 + 4 + 2 + 1  # and the viewer's


def test_pictures_load_late_and_keep_their_place(page):
    pictures = [image for image in page.all("img") if image.get("src")]
    assert all(image["loading"] == "lazy" and image["alt"] for image in pictures)
    assert all((image["width"], image["height"]) == ("8", "6") for image in pictures)
    assert [link["href"] for link in page.all("a", "picture")] == [image["src"] for image in pictures]


def test_names_are_shown_as_they_are_and_never_become_markup(page):
    assert page.text("h1") == ["Results <1>"]
    assert [row["data-name"] for row in page.all("article")] == ["frame_0001", AWKWARD, "no truth"]
    assert "".join(page.text("h2")) == f"frame_0001{AWKWARD}no truth"
    assert "<b>" not in [text for _, text in page.texts if text == "bold"]
    assert '<b>"bold"' not in page.source


def test_what_is_sorted_by_stands_there_in_full(page):
    cells = page.all("dd")[1:]  # the first one is a fact
    assert [cell["data-metric"] for cell in cells] == COLUMNS * 2
    assert [cell["data-value"] for cell in cells] == ["0.1234567890123", "0.9", "0.5", "", "Infinity", ""]
    chips = page.all("button", "chip")
    assert [chip["data-key"] for chip in chips] == ["", *COLUMNS]
    assert [chip["data-better"] for chip in chips] == ["", "lower", "higher", ""]


def test_a_row_without_truth_has_no_numbers_but_stays_in_line(page):
    assert len(page.all("figure")) == 12  # 4 a row, the missing ones empty
    assert len(page.all("dl", "numbers")) == 2


def test_the_summary_sets_the_best_of_each_alignment_bold(page):
    assert page.text("td") == ["0.080", "0.950", "0.410", "0.310", "0.070", "–"]
    assert [cell["class"] for cell in page.all("td")] == ["best", "best", "", "", "", ""]


def test_scores_without_a_metric_in_common_stand_in_tables_of_their_own(tmp_path):
    poses = {"Camera path": {"ours": {"ate_mm": 1.0}, "straight on": {"ate_mm": 4.0}}, "Nothing": {}}
    write_gallery(tmp_path / "index.html", [], [], SUMMARY | poses, "t")
    page = Page(tmp_path / "index.html")
    assert len(page.all("table")) == 2
    assert page.text("td")[-2:] == ["1.00", "4.00"]
    assert page.text("th").count("Mean scores") == 2
    assert "Nothing" not in page.text("th")


def test_figures_stand_above_the_images_with_their_own_sizes(tmp_path):
    figures = {"Camera path": {"a": save(tmp_path, "path a.png", (20, 30)), "b": save(tmp_path, "b.png", (9, 30))}}
    write_gallery(tmp_path / "index.html", rows(tmp_path), COLUMNS, SUMMARY, "t", figures=figures)
    page = Page(tmp_path / "index.html")
    shown = [image for image in page.all("img") if image.get("src")][:2]
    assert [(image["src"], image["width"], image["height"]) for image in shown] == [
        ("images/path%20a.png", "30", "20"),
        ("images/b.png", "30", "9"),
    ]
    assert page.text("h2")[0] == "Camera path"
    assert page.source.index("Camera path") < page.source.index('id="rows"')
    assert_offline(page, tmp_path)


def test_the_colours_are_explained_with_their_range(page):
    ramps = [ramp["style"] for ramp in page.all("i", "ramp")]
    r, g, b = sample_colors(colorize_error)[-1]
    assert ramps[1].endswith(f"rgb({r} {g} {b}))")
    assert {"200 mm", "7.5 mm"} <= set(page.text("span"))


def test_light_and_dark_follow_the_system(page):
    assert "prefers-color-scheme: dark" in page.source
    assert "color-scheme: light dark" in page.source


def test_a_gallery_without_any_truth_has_pictures_only(tmp_path):
    only = [gallery_row(tmp_path, f"frame {i}", captions=("Input", "Depth")) for i in range(2)]
    write_gallery(tmp_path / "index.html", only, [], {}, "Clip")
    page = Page(tmp_path / "index.html")
    assert page.all("table") == page.all("dl") == []
    assert len(page.all("figure")) == 4
    assert_offline(page, tmp_path)


def test_rows_beyond_the_first_page_wait_hidden(tmp_path):
    many = [GalleryRow(f"{i}", {"Input": "images/a.png"}, {"abs_rel": i}) for i in range(7)]
    write_gallery(tmp_path / "index.html", many, ["abs_rel"], {}, "Many", page_size=3)
    page = Page(tmp_path / "index.html")
    assert ["hidden" in row for row in page.all("article")] == [False] * 3 + [True] * 4
    assert page.all("main")[0]["data-page-size"] == "3"


@pytest.mark.parametrize("path", ["/abs/a.png", "../a.png", "images/../../a.png", "https://example.org/a.png"])
def test_a_picture_outside_the_folder_is_refused_and_nothing_written(tmp_path, path):
    with pytest.raises(ValueError, match="below the page's folder"):
        write_gallery(tmp_path / "index.html", [GalleryRow("a", {"Input": path})], [], {}, "t")
    assert list(tmp_path.iterdir()) == []


def test_addresses_are_quoted():
    assert picture_url("images/a b#1?.png") == "images/a%20b%231%3F.png"


def entries(folder):
    return [
        TrainingEntry(epoch, 100 * epoch, {"Input": save(folder, f"{epoch}.png")}, note=f"D <{epoch}>")
        for epoch in (2, 10, 1)
    ]


def test_the_training_page_shows_the_newest_first(tmp_path):
    write_training_page(tmp_path / "index.html", entries(tmp_path), "Run & co", facts={"Method": "x"}, refresh_s=30)
    page = Page(tmp_path / "index.html")
    assert [article["id"] for article in page.all("article")] == ["epoch-10-1000", "epoch-2-200", "epoch-1-100"]
    assert page.text("h2") == ["Epoch 10", "Epoch 2", "Epoch 1"]
    assert [text for text in page.text("p") if text.startswith("D")] == ["D <10>", "D <2>", "D <1>"]
    assert {"http-equiv": "refresh", "content": "30"} in page.all("meta")
    assert_offline(page, tmp_path)


def test_the_training_page_is_replaced_as_a_whole(tmp_path):
    shown = entries(tmp_path)
    write_training_page(tmp_path / "index.html", shown[:1], "Run")
    write_training_page(tmp_path / "index.html", shown, "Run")
    page = Page(tmp_path / "index.html")
    assert len(page.all("article")) == 3
    assert not any("http-equiv" in meta for meta in page.all("meta"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["images", "index.html"]


def test_a_training_page_without_pictures_says_so(tmp_path):
    write_training_page(tmp_path / "index.html", [], "Run")
    assert Page(tmp_path / "index.html").text("p")[0] == "No pictures yet."
