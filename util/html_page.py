"""The base of our web pages: one HTML file that opens offline, light or dark as the reader's system is.

Style and script stand in the page, fonts are the system's own. Every ``picture_link`` opens in a full-size viewer
(arrow keys go on, Escape closes); without JavaScript it opens as a file.
"""

from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

from dominate import document, tags
from dominate.util import raw

from util.files import write_text

BASE_STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f6f7; --surface: #ffffff; --inset: #ececef; --line: #e2e3e7;
  --text: #1a1b1e; --muted: #666a72; --accent: #0a66c2; --accent-soft: #e6f0fb;
  --shadow: 0 1px 2px rgb(0 0 0 / .05), 0 2px 10px rgb(0 0 0 / .04);
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #101113; --surface: #18191c; --inset: #222428; --line: #2a2c31;
    --text: #ececee; --muted: #9b9fa7; --accent: #7ab8ff; --accent-soft: #1a2c42;
    --shadow: none;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
.wrap { max-width: 1720px; margin: 0 auto; padding: 0 clamp(14px, 2.4vw, 36px); }
.masthead { padding-top: 34px; padding-bottom: 20px; }
h1 { margin: 0; font-size: 27px; line-height: 1.2; font-weight: 650; letter-spacing: -.015em; overflow-wrap: anywhere; }
h2 { margin: 0; font-size: 15px; font-weight: 600; overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: 4px 26px; margin: 12px 0 0; font-size: 13.5px; }
.facts div { display: flex; gap: 7px; min-width: 0; }
.facts dt { color: var(--muted); }
.facts dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.card { background: var(--surface); border: 1px solid var(--line); border-radius: 12px; box-shadow: var(--shadow); }
.pictures { display: grid; gap: 10px; min-width: 0; }
figure { margin: 0; min-width: 0; }
figcaption { margin-top: 5px; font-size: 12.5px; color: var(--muted); overflow-wrap: anywhere; }
.picture { display: block; border-radius: 7px; cursor: zoom-in; background: var(--inset); overflow: hidden; }
.picture img { display: block; width: 100%; height: auto; transition: opacity .15s; }
.picture:hover img { opacity: .88; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
#viewer {
  width: 100vw; height: 100vh; max-width: none; max-height: none; margin: 0; padding: 0; border: 0;
  background: rgb(10 10 12 / .95); color: #ececee;
}
#viewer[open] { display: grid; grid-template-rows: minmax(0, 1fr) auto; }
#viewer img {
  width: 100%; height: 100%; padding: 22px 22px 8px; object-fit: contain; cursor: zoom-out; image-rendering: pixelated;
}
#viewer p { margin: 0; padding: 0 20px 16px; text-align: center; font-size: 14px; overflow-wrap: anywhere; }
#viewer span { color: #9b9fa7; margin-left: 14px; }
@media print { .picture { break-inside: avoid; } }
"""

VIEWER_SCRIPT = """
(() => {
  const viewer = document.getElementById("viewer");
  const image = viewer.querySelector("img"), name = viewer.querySelector("b");
  let current = null;
  const shown = () => [...document.querySelectorAll("a.picture")].filter((link) => link.offsetParent);
  const show = (link) => {
    current = link;
    image.src = link.href;
    name.textContent = image.alt = link.title;
    if (!viewer.open) viewer.showModal();
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.picture");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(link);
  });
  viewer.addEventListener("click", () => viewer.close());
  viewer.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const links = shown();
    const next = step && links[links.indexOf(current) + step];
    if (next) show(next);
  });
  viewer.addEventListener("close", () => current && current.scrollIntoView({ block: "nearest" }));
})();
"""


def write_page(
    path: Path, title: str, body: list[tags.html_tag], style: str = "", script: str = "", refresh_s: int = 0
) -> None:
    """Write a page, whole or not at all.

    Args:
        path: the HTML file.
        title: of the window, escaped here; the visible heading is ``masthead``.
        body: what the page shows, from top to bottom.
        style: CSS on top of the base's.
        script: JavaScript that runs when everything is there.
        refresh_s: seconds after which a browser loads the page again; 0 is never.
    """
    page = document(title=title)
    page.set_attribute("lang", "en")
    page.head.add(tags.meta(charset="utf-8"))
    page.head.add(tags.meta(name="viewport", content="width=device-width, initial-scale=1"))
    if refresh_s > 0:
        page.head.add(tags.meta(http_equiv="refresh", content=str(refresh_s)))
    page.head.add(tags.style(raw(BASE_STYLE + style)))
    page.body.add(*body, _viewer(), tags.script(raw(VIEWER_SCRIPT + script)))
    write_text(path, page.render(pretty=False) + "\n")


def masthead(title: str, facts: dict[str, str]) -> tags.html_tag:
    """The heading, and under it a line of facts by name."""
    heading = tags.header(tags.h1(title), cls="wrap masthead")
    if facts:
        heading.add(tags.dl(*[tags.div(tags.dt(name), tags.dd(fact)) for name, fact in facts.items()], cls="facts"))
    return heading


def picture_link(
    source: str, caption: str, name: str, size: tuple[int, int] | None = None, alt: str | None = None
) -> tags.html_tag:
    """A picture with its caption that loads when it is scrolled into view and opens at full size on a click.

    Args:
        source: path of the file from the page's folder, with ``/``.
        caption: stands below it.
        name: what the viewer writes beside the caption.
        size: (H, W), keeps the place free until the picture is there.
        alt: for who does not see it; by default name and caption.

    Raises:
        ValueError: ``source`` leads out of the page's folder, so that it would break when the folder is moved.
    """
    label = f"{name} · {caption}"
    image = tags.img(src=picture_url(source), alt=label if alt is None else alt, loading="lazy", decoding="async")
    if size is not None:
        image.set_attribute("width", str(size[1]))
        image.set_attribute("height", str(size[0]))
    return tags.figure(tags.a(image, href=picture_url(source), title=label, cls="picture"), tags.figcaption(caption))


def picture_url(source: str) -> str:
    """``source`` as it must stand in HTML, whatever characters the file's name has. Raises as ``picture_link``."""
    path = PurePosixPath(source)
    if path.is_absolute() or ".." in path.parts or urlsplit(source).netloc:
        raise ValueError(f"pictures are linked by a path below the page's folder, got {source!r}")
    return quote(str(path))


class dialog(tags.html_tag):  # dominate takes the tag's name from the class, and does not know this one
    """The HTML element ``<dialog>``."""


def _viewer() -> tags.html_tag:
    return dialog(
        tags.img(alt=""), tags.p(tags.b(), tags.span("← → to go on, Esc to close")), id="viewer", aria_label="Picture"
    )
