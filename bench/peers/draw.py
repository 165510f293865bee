#!/usr/bin/env python3
"""Draws a Vega-Lite specification, such as results.vl.json, as an SVG file, in headless Chromium.

Usage: bench/peers/draw.py SPEC.vl.json OUT.svg
"""

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from browser import Browser, BrowserError

LIBRARIES = [ROOT / "third_party" / "vega" / name for name in ("vega.min.js", "vega-lite.min.js")]
DRAW = """new vega.View(vega.parse(vegaLite.compile(%s).spec), {renderer: "none"}).toSVG()"""


def main():
    if len(sys.argv) != 3:
        print("usage: bench/peers/draw.py SPEC.vl.json OUT.svg", file=sys.stderr)
        return 2
    try:
        spec = json.loads(Path(sys.argv[1]).read_text())
    except (OSError, ValueError) as error:
        print(f"draw: {sys.argv[1]}: {error}", file=sys.stderr)
        return 2
    scripts = "".join(f"<script src='{path.as_uri()}'></script>" for path in LIBRARIES)
    with tempfile.TemporaryDirectory() as folder, Browser() as browser:
        page = Path(folder) / "page.html"
        page.write_text(f"<!doctype html><meta charset='utf-8'>{scripts}")
        svg = browser.open(page).evaluate(DRAW % json.dumps(spec))
    Path(sys.argv[2]).write_text(svg + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrowserError as error:
        print(f"draw: {error}", file=sys.stderr)
        sys.exit(1)
