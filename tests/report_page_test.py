"""The page of a report, as tests/example_report.cc makes it, in headless Chromium."""

import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from report_checks import FIGURES, ROOT, check_accessibility, check_report

from browser import Browser, find_chromium

EXAMPLE = os.environ.get("EXAMPLE_REPORT") or str(
    ROOT / "build" / "release" / "tests" / "example_report"
)


@unittest.skipUnless(find_chromium(), "no Chromium: tools/setup.sh --tests installs it")
class ReportPageTest(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.page = cls.folder / "report.html"
        subprocess.run([EXAMPLE, cls.page], check=True, timeout=60)

    def test_nothing_is_wrong_with_it(self):
        self.assertEqual(check_report(self.page), [])

    def test_checks_see_what_is_wrong(self):
        text = self.page.read_text()
        for old, new in {
            '"mark":"bar"': '"mark":"no such mark"',
            "</h1>": '</h1><p style="min-width: 900px; color: #ddd">wide</p>',
            "</header>": '<img src="https://example.org/a.png"></header>',
            "<td>first (early exit)</td>": "<td>something else</td>",
        }.items():
            self.assertIn(old, text)
            text = text.replace(old, new, 1)
        path = self.folder / "damaged.html"
        path.write_text(text)
        problems = "\n".join(check_report(path))
        for problem in (
            "light: Figure 4: tokens a second </script><b>&amp;: not drawn",
            "light: Figure 4: tokens a second </script><b>&amp;: no mark has a tooltip",
            "light: console.error: fig4",
            "light: Figure 1: similarity to the full model against cost: its CSV is not its table",
            " px wide, the window 360 px",
            "light: axe: serious: color-contrast",
            "dark: axe: critical: image-alt",
            "Content Security Policy",
            "requested: https://example.org/a.png",
        ):
            self.assertIn(problem, problems)

    def test_follows_the_theme_and_the_width(self):
        with Browser() as browser:
            page = browser.open(self.page)
            page.evaluate("report.drawn")
            light = page.evaluate(FIGURES)
            page.emulate(theme="dark")
            page.evaluate("report.drawn")
            dark = page.evaluate(FIGURES)
            for before, after in zip(light, dark, strict=True):
                self.assertNotEqual(before["colors"], after["colors"])
                self.assertEqual(before["width"], after["width"])
            page.emulate(width=560, theme="dark")
            # Drawn for that width, not just made smaller; with one column, so taller.
            svg = 'document.querySelector("figure svg")'
            deadline = time.monotonic() + 30
            while page.evaluate(f"Number({svg}.getAttribute('width'))") >= 560:
                self.assertLess(time.monotonic(), deadline, "not drawn again for a narrow window")
                time.sleep(0.05)
            self.assertGreater(page.evaluate(f"{svg}.getBoundingClientRect().height"), 400)
            self.assertEqual(page.complaints, [])

    def test_open_tables_are_accessible_and_scroll_by_themselves(self):
        with Browser() as browser:
            page = browser.open(self.page, width=360)
            page.evaluate("report.drawn")
            page.evaluate("document.querySelector('#fig1 details').open = true")
            region = "document.querySelector('#fig1 details .scroll')"
            self.assertTrue(page.evaluate(f"{region}.scrollHeight > {region}.clientHeight"))
            self.assertTrue(page.evaluate(f"{region}.scrollWidth > {region}.clientWidth"))
            self.assertEqual(page.evaluate("document.documentElement.scrollWidth"), 360)
            self.assertEqual(check_accessibility(page), [])

    def test_saves_figures_as_files(self):
        with Browser() as browser:
            page = browser.open(self.page)
            page.evaluate("report.drawn")
            saved = self.folder / "saved"
            browser.call("Browser.setDownloadBehavior",
                         {"behavior": "allow", "downloadPath": str(saved)})
            page.evaluate("document.querySelectorAll('#fig4 .downloads :is(a, button)')"
                          ".forEach((link) => link.click())")
            names = {"fig4.csv", "fig4.svg", "fig4.vl.json"}
            deadline = time.monotonic() + 30
            while not (saved.is_dir() and {file.name for file in saved.iterdir()} == names):
                self.assertLess(time.monotonic(), deadline, "not all files were saved")
                time.sleep(0.05)
            self.assertTrue((saved / "fig4.csv").read_text().startswith("policy,tokens/s,note\n"))
            self.assertIn("uniform:20", (saved / "fig4.svg").read_text())
            spec = json.loads((saved / "fig4.vl.json").read_text())
            self.assertEqual(spec["mark"], "bar")
            self.assertEqual(spec["data"]["values"][3]["policy"], "</script><!--\ufffd")
            self.assertEqual(page.complaints, [])

    def test_says_what_is_missing_without_scripts(self):
        with Browser() as browser:
            page = browser.open(self.page)
            page.call("Emulation.setScriptExecutionDisabled", {"value": True})
            page.load(self.page.as_uri())
            page.call("DOM.enable")
            page.call("CSS.enable")
            root = page.call("DOM.getDocument")["root"]["nodeId"]

            def find(selector):
                query = {"nodeId": root, "selector": selector}
                return page.call("DOM.querySelector", query)["nodeId"]

            self.assertTrue(find("noscript p"), "no sentence says that JavaScript is off")
            style = page.call("CSS.getComputedStyleForNode", {"nodeId": find(".drawing")})
            self.assertIn({"name": "display", "value": "none"}, style["computedStyle"])
            self.assertTrue(find("details table td"))

    def test_figures_become_svg_files(self):
        out = self.folder / "figures"
        done = subprocess.run([sys.executable, "-B", ROOT / "tools" / "figures.py", self.page, out],
                              capture_output=True, text=True, timeout=120)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        names = sorted(file.name for file in out.iterdir())
        self.assertEqual(names, ["fig1.svg", "fig2.svg", "fig3.svg", "fig4.svg"])
        for name in names:
            text = (out / name).read_text()
            self.assertRegex(text, r'^<svg [^>]*\bwidth="\d{3}"')
        self.assertIn("tokens a second", (out / "fig4.svg").read_text())


if __name__ == "__main__":
    unittest.main()
