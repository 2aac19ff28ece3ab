"""Style and script of the pages in ``util/gallery.py``."""

GALLERY_STYLE = """
.summary { margin-bottom: 22px; display: flex; flex-wrap: wrap; gap: 14px; align-items: flex-start; }
.scroll { overflow-x: auto; display: inline-block; max-width: 100%; vertical-align: top; }
table { border-collapse: collapse; font-size: 14px; }
th, td { padding: 7px 18px; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; padding-right: 34px; font-weight: 500; position: sticky; left: 0;
  background: var(--surface); }
thead th { font-weight: 600; font-size: 13px; padding-top: 13px; padding-bottom: 11px; }
thead th:first-child { font-weight: 600; }
thead small, .numbers small, .chip small { color: var(--muted); font-weight: 400; font-size: 12px; margin-left: 4px; }
thead i { color: var(--muted); font-style: normal; font-weight: 400; margin-left: 4px; }
.group th { color: var(--muted); font-size: 12.5px; font-weight: 500; border-top: 1px solid var(--line);
  padding-top: 11px; padding-bottom: 3px; }
tbody tr:last-child > * { padding-bottom: 11px; }
td { color: var(--muted); }
td.best { color: var(--text); font-weight: 650; }

.figures { margin-bottom: 22px; }
.figures h2 { margin-bottom: 10px; }
.figures .pictures { padding: 14px 16px; align-items: end;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 460px)); }

.toolbar { position: sticky; top: 0; z-index: 2; border-block: 1px solid var(--line); margin-bottom: 18px;
  background: color-mix(in srgb, var(--page) 88%, transparent); backdrop-filter: blur(14px) saturate(1.4); }
.toolbar > .wrap { padding-block: 10px; display: grid; grid-template-columns: minmax(0, 1fr); gap: 9px; }
.controls { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 8px 24px; align-items: center; }
.chips { display: flex; gap: 5px; align-items: center; min-width: 0; overflow-x: auto; scrollbar-width: none;
  padding: 3px; margin: -3px; font-size: 13px; color: var(--muted); }
.chips > * { flex: none; }
.chips > span:first-child { margin-right: 5px; }
.chip, .pages button { font: inherit; line-height: 1; color: var(--text); cursor: pointer;
  border: 1px solid var(--line); background: var(--surface); border-radius: 99px; padding: 7px 12px; }
.chip:hover, .pages button:hover:enabled { border-color: var(--accent); }
.chip[aria-pressed=true] { background: var(--accent-soft); border-color: var(--accent); color: var(--accent);
  font-weight: 600; }
#order { margin-left: 7px; }
.pages { display: flex; gap: 8px; align-items: center; font-size: 13px; color: var(--muted); flex: none;
  max-width: 100%; }
.pages input { font: inherit; color: var(--text); background: var(--surface); border: 1px solid var(--line);
  border-radius: 8px; padding: 4px 10px; width: 190px; min-width: 0; }
.pages input::placeholder { color: var(--muted); }
.pages button { border-radius: 8px; padding: 5px 11px 7px; font-size: 16px; }
.pages button:disabled { opacity: .4; cursor: default; }
.pages button + button { margin-left: -3px; }
#count { white-space: nowrap; }
.scales { display: flex; flex-wrap: wrap; gap: 4px 28px; font-size: 12.5px; color: var(--muted); }
.scale { display: flex; gap: 8px; align-items: center; }
.scale b { font-weight: 600; color: var(--text); }
.ramp { width: 150px; height: 9px; border-radius: 5px; box-shadow: inset 0 0 0 1px rgb(128 128 128 / .35); }
.swatch { width: 9px; height: 9px; border-radius: 3px; }

#rows { padding-bottom: 60px; }
.row { padding: 14px 16px 16px; margin-bottom: 14px;
  content-visibility: auto; contain-intrinsic-size: auto 330px; }
.row h2 { margin-bottom: 10px; }
.picture { scroll-margin-block: 130px 40px; }
.content { display: grid; grid-template-columns: minmax(0, 1fr); gap: 14px 28px; }
.content:has(.numbers) { grid-template-columns: minmax(0, 1fr) 208px; }
.content > .pictures { grid-template-columns: repeat(var(--columns), minmax(0, 460px)); }
.numbers { margin: 0; font-size: 13.5px; align-self: start; }
.numbers div { display: flex; justify-content: space-between; gap: 10px; padding: 2.5px 8px; border-radius: 6px; }
.numbers div + div { margin-top: 1px; }
.numbers dt { color: var(--muted); }
.numbers dd { margin: 0; }
.numbers div.sorted { background: var(--accent-soft); }
.numbers div.sorted > * { color: var(--accent); font-weight: 600; }
@media (max-width: 980px) {
  .content:has(.numbers) { grid-template-columns: minmax(0, 1fr); }
  .numbers { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 0 14px; }
  .numbers div { padding-inline: 0; }
  .numbers div.sorted { padding-inline: 6px; margin-inline: -6px; }
}
@media (max-width: 620px) {
  .content > .pictures { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .masthead { padding-top: 22px; }
  .pages { width: 100%; }
  .pages input { flex: 1; }
  .row { padding: 12px; }
}
@media print { .toolbar { position: static; } .controls { display: none; } .row { break-inside: avoid; } }
"""

GALLERY_SCRIPT = """
(() => {
  const list = document.getElementById("rows"), pageSize = Number(list.dataset.pageSize);
  const get = (id) => document.getElementById(id);
  const chips = [...document.querySelectorAll(".chip")];
  const rows = [...list.children].map((element) => {
    const cells = {};
    for (const cell of element.querySelectorAll("[data-metric]")) cells[cell.dataset.metric] = cell;
    return { element, cells, name: element.dataset.name };
  });
  let key = null, down = false, page = 0, found = rows;
  const names = new Intl.Collator(undefined, { numeric: true });
  const value = (row) => {
    const text = row.cells[key]?.dataset.value;
    return text ? Number(text) : NaN;
  };
  const compare = (a, b) => {
    const sign = down ? -1 : 1;
    if (key === "") return sign * names.compare(a.name, b.name);
    const x = value(a), y = value(b);
    if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
    return x === y ? 0 : x < y ? -sign : sign;
  };
  const order = (better) => {
    if (key === null) return "";
    if (key === "") return down ? "Z to A" : "A to Z";
    if (!better) return down ? "largest first" : "smallest first";
    return (better === "lower") === down ? "worst first" : "best first";
  };
  const show = () => {
    const last = Math.max(0, Math.ceil(found.length / pageSize) - 1);
    page = Math.min(Math.max(page, 0), last);
    const from = page * pageSize, part = found.slice(from, from + pageSize), visible = new Set(part);
    for (const row of rows) row.element.hidden = !visible.has(row);
    get("count").textContent = part.length ? `${from + 1}–${from + part.length} of ${found.length}` : "none";
    get("previous").disabled = page === 0;
    get("next").disabled = page === last;
    get("previous").hidden = get("next").hidden = rows.length <= pageSize;
  };
  const toTop = () => {
    const top = list.offsetTop - document.querySelector(".toolbar").offsetHeight - 18;
    if (scrollY > top) scrollTo({ top });
  };
  const filter = () => {
    const text = get("filter").value.trim().toLowerCase();
    found = rows.filter((row) => row.name.toLowerCase().includes(text));
    page = 0;
    show();
    toTop();
  };
  const sort = (chip) => {
    const better = chip.dataset.better;
    down = chip.dataset.key === key ? !down : chip.dataset.key !== "" && better !== "higher";
    key = chip.dataset.key;
    rows.sort(compare);
    list.append(...rows.map((row) => row.element));
    for (const other of chips) other.setAttribute("aria-pressed", other === chip);
    for (const row of rows)
      for (const name in row.cells) row.cells[name].parentElement.classList.toggle("sorted", name === key);
    get("order").textContent = order(better);
    filter();
  };
  const turn = (step) => {
    page += step;
    show();
    toTop();
  };
  for (const chip of chips) chip.addEventListener("click", () => sort(chip));
  get("filter").addEventListener("input", filter);
  get("previous").addEventListener("click", () => turn(-1));
  get("next").addEventListener("click", () => turn(1));
  get("controls").hidden = false;
  show();
})();
"""

TRAINING_STYLE = """
.row { padding: 15px 16px 16px; margin-bottom: 14px; content-visibility: auto; contain-intrinsic-size: auto 300px; }
.row h2 { margin-bottom: 10px; }
.row h2 span { color: var(--muted); font-weight: 400; margin-left: 10px; }
.row .pictures { grid-template-columns: repeat(auto-fill, minmax(min(100%, clamp(150px, 17vw, 280px)), 1fr)); }
.note { margin: -5px 0 11px; font-size: 13px; color: var(--muted); overflow-wrap: anywhere; }
.empty { color: var(--muted); }
main { padding-bottom: 60px; }
"""
