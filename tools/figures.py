#!/usr/bin/env python3
"""Writes the figures of a report as SVG files, for pages that cannot draw them themselves.

Usage: tools/figures.py REPORT.html FOLDER [ID...]
Writes FOLDER/ID.svg for each figure, or for those named: light, at most 800 pixels wide, drawn by
the report's own page in headless Chromium.
"""

import re
import sys
from pathlib import Path

from browser import Browser, BrowserError

WIDTH = 800


def main():
    if len(sys.argv) < 3:
        print("usage: tools/figures.py REPORT.html FOLDER [ID...]", file=sys.stderr)
        return 2
    report, folder, wanted = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    if not report.is_file():
        print(f"figures: {report}: no such file", file=sys.stderr)
        return 2
    with Browser() as browser:
        page = browser.open(report)
        ids = "[...document.querySelectorAll('.figure')].map((figure) => figure.id)"
        found = page.evaluate(f"window.report ? {ids} : []")
        found = [name for name in found if re.fullmatch(r"[\w-]+", name, re.ASCII)]
        missing = [name for name in wanted if name not in found]
        if not found or missing:
            what = f"no figure {missing[0]}" if missing else "no report with figures"
            print(f"figures: {report}: {what}", file=sys.stderr)
            return 2
        folder.mkdir(parents=True, exist_ok=True)
        page.evaluate("report.drawn")
        for name in wanted or found:
            svg = page.evaluate(f"report.svg('{name}', {WIDTH})")
            (folder / f"{name}.svg").write_text(svg + "\n")
            print(folder / f"{name}.svg")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrowserError as error:
        print(f"figures: {error}", file=sys.stderr)
        sys.exit(1)
