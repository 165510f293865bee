"""Checks of a report's page in headless Chromium, for whatever report: check_report(path)."""

import csv
import io
import re
import sys
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from browser import Browser  # noqa: E402

AXE = (ROOT / "third_party" / "axe-core" / "axe.min.js").read_text()

LIGHT_PAGE = "rgb(255, 255, 255)"

# For each figure: the width of the drawing and of what it stands in, how many marks it has outside
# its axes and legends, and the colours of its axes' labels.
FIGURES = """
[...document.querySelectorAll("figure")].map((figure) => {
  const svg = figure.querySelector(".drawing > svg");
  const data = "g.role-mark:not(.mark-group) > :is(path, line, text)";
  return {
    title: figure.parentElement.querySelector("h3").textContent,
    room: figure.clientWidth,
    width: svg ? svg.getBoundingClientRect().width : 0,
    marks: svg ? svg.querySelectorAll(data).length : 0,
    colors: [...new Set([...figure.querySelectorAll(".role-axis-label text")]
      .map((text) => text.getAttribute("fill")))],
  };
})
"""

TABLES = """
[...document.querySelectorAll(".figure")].map((figure) => {
  const cells = (row) => [...row.cells].map((cell) => cell.textContent);
  return {
    title: figure.querySelector("h3").textContent,
    open: figure.querySelector("details").open,
    rows: [...figure.querySelectorAll("details table tr")].map(cells),
    csv: figure.querySelector("a[download]").getAttribute("href"),
  };
})
"""

# Colours count as they are on the page, so nothing may be hidden but what is in closed tables; of
# those the shortest is opened.
AXE_RUN = """
(async () => {
  const size = (details) => details.querySelectorAll("td").length;
  const tables = [...document.querySelectorAll("details")].sort((a, b) => size(a) - size(b));
  if (tables.length) tables[0].open = true;
  const result = await axe.run({ iframes: false, resultTypes: ["violations"] });
  return result.violations.map((violation) =>
    `${violation.impact}: ${violation.id}: ${violation.nodes.map((node) => node.html).join(" ")}`);
})()
"""

# What is on the page once everything that does not wait for a timer, a file or a frame is done:
# that is what goes to paper.
AFTER_MICROTASKS = """
(async () => {
  dispatchEvent(new Event("beforeprint"));
  for (let i = 0; i < 100000; ++i) await null;
  const figures = %s;
  dispatchEvent(new Event("afterprint"));
  await report.drawn;
  return figures;
})()
""" % FIGURES.strip()

TITLES = "[...document.querySelectorAll('.figure h3')].map((title) => title.textContent)"

# Places of marks that a reader may point at: some of each figure's.
MARKS = """
(() => {
  const figure = document.querySelectorAll(".figure")[%d];
  figure.scrollIntoView({ behavior: "instant", block: "center" });
  const kinds = ["symbol", "rect", "arc", "rule"];
  const marks = kinds.flatMap((kind) =>
    [...figure.querySelectorAll(`svg .mark-${kind}.role-mark > *`)]);
  const step = Math.ceil(marks.length / 12);
  return marks.filter((_, i) => i %% step === 0).map((mark) => {
    const box = mark.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
  }).filter(([, y]) => y > 0 && y < innerHeight);
})()
"""

TOOLTIP = """
document.querySelector("#vg-tooltip-element.visible")?.innerText.trim() ?? ""
"""


def check_report(path):
    """What is wrong with a report's page, as a list of lines; empty if nothing is.

    Held to: no console message, exception or request for another file; every figure drawn, within
    its room, with a tooltip, and with a table and a CSV of the same numbers; a page that is not
    wider than a phone; light on paper; nothing that axe finds, in light, in dark and on a phone.
    """
    problems = []
    with Browser() as browser:
        for name, media in {
            "light": {},
            "dark": {"theme": "dark"},
            "phone": {"width": 360, "height": 740},
        }.items():
            page = browser.open(path, **media)
            page.evaluate("report.drawn")
            found = _check_drawn(page)
            if name == "light":
                found += _check_tables(page) + _check_tooltips(page)
            if name == "dark":
                found += _check_print(page)
            found += check_accessibility(page)
            problems += [f"{name}: {problem}" for problem in found + page.complaints]
            page.close()
    return problems


def check_accessibility(page):
    """What axe finds on the page as it is, as lines."""
    page.evaluate(AXE)
    return [f"axe: {violation}" for violation in page.evaluate(AXE_RUN)]


def _check_drawn(page):
    figures = page.evaluate(FIGURES)
    problems = [] if figures else ["there are no figures"]
    for figure in figures:
        if not figure["marks"]:
            problems.append(f"{figure['title']}: not drawn")
        if figure["width"] > figure["room"]:
            problems.append(f"{figure['title']}: wider than its room: {figure}")
    root = "document.documentElement"
    wide, room = page.evaluate(f"[{root}.scrollWidth, {root}.clientWidth]")
    if wide > room:
        problems.append(f"the page is {wide} px wide, the window {room} px")
    return problems


def _check_tables(page):
    problems = []
    for table in page.evaluate(TABLES):
        title = table["title"]
        if len(table["rows"]) < 2:
            problems.append(f"{title}: no table of its numbers")
        if table["open"]:
            problems.append(f"{title}: its table is open from the start")
        text = urllib.parse.unquote(re.sub(r"^data:text/csv;charset=utf-8,", "", table["csv"]))
        if list(csv.reader(io.StringIO(text, newline=""))) != table["rows"]:
            problems.append(f"{title}: its CSV is not its table")
    return problems


def _check_tooltips(page):
    problems = []
    for i, title in enumerate(page.evaluate(TITLES)):
        for x, y in page.evaluate(MARKS % i):
            page.move_mouse(x, y)
            if page.evaluate(TOOLTIP):
                break
        else:
            problems.append(f"{title}: no mark has a tooltip")
        page.move_mouse(0, 0)
        if page.evaluate(TOOLTIP):
            problems.append(f"{title}: the tooltip stays when the mouse is gone")
    return problems


def _check_print(page):
    """Of a page that is dark on the screen."""
    problems = []
    dark = page.evaluate(FIGURES)
    paper = page.evaluate(AFTER_MICROTASKS)
    again = page.evaluate(FIGURES)
    for before, printed, after in zip(dark, paper, again):
        if printed["colors"] == before["colors"]:
            problems.append(f"{before['title']}: printed in the dark theme")
        if after["colors"] != before["colors"]:
            problems.append(f"{before['title']}: not dark again after printing")
    page.emulate(theme="dark", media="print")
    if page.evaluate("getComputedStyle(document.body).backgroundColor") != LIGHT_PAGE:
        problems.append("the page is printed on a dark ground")
    page.emulate(theme="dark")
    page.evaluate("report.drawn")
    return problems
