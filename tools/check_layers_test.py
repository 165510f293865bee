#!/usr/bin/env python3
"""Tests check_layers.py on small trees, good and bad."""

import tempfile
import unittest
from pathlib import Path

import check_layers

LAYERS = "# order\nbase\nmodel  # above cli\ncli\n"
CMAKE = """
fathom_folder(base DEPENDS fmt::fmt)
fathom_folder(model DEPENDS fathom_base)
fathom_folder(cli DEPENDS fathom_model
  EXCLUDE main.cc)
"""


class CheckLayersTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.write("arch/layers.txt", LAYERS)
        self.write("CMakeLists.txt", CMAKE)
        self.write("src/base/error.h", "#include <vector>\n")
        self.write("src/model/model.h", '#include "base/error.h"\n')
        self.write("src/cli/main.cc", '#include "model/model.h"\n#include "cli/x.h"\n')

    def write(self, path, text):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def assert_breaches(self, *expected):
        self.assertEqual(check_layers.check(self.root), list(expected))

    def test_good_tree(self):
        self.assert_breaches()

    def test_include_from_below(self):
        self.write("src/base/error.h", '\n  #  include "model/model.h"  // no\n')
        self.assert_breaches(
            "src/base/error.h:2: base/ may not include from model/, which is below it"
        )

    def test_include_from_below_in_a_deeper_folder(self):
        self.write("src/model/llama/block.inc", '#include "cli/x.h"\n')
        self.assert_breaches(
            "src/model/llama/block.inc:1: model/ may not include from cli/, which is below it"
        )

    def test_include_of_an_unknown_folder(self):
        self.write("src/model/model.h", '#include "other/x.h"\n')
        self.assert_breaches('src/model/model.h:1: "other/x.h": unknown folder other/')

    def test_include_without_folder(self):
        self.write("src/cli/main.cc", '#include "x.h"\n')
        self.assert_breaches('src/cli/main.cc:1: "x.h" must name its folder')

    def test_include_in_angle_brackets(self):
        self.write("src/base/error.h", "#include <sys/mman.h>\n#include <cli/x.h>\n")
        self.assert_breaches('src/base/error.h:2: write "cli/x.h", not <cli/x.h>')

    def test_folder_not_listed(self):
        self.write("src/extra/x.h", '#include "cli/x.h"\n')
        self.assert_breaches("src/extra: not in arch/layers.txt")

    def test_file_outside_every_folder(self):
        self.write("src/x.h", "")
        self.assert_breaches("src/x.h: outside every folder")

    def test_listed_folder_missing(self):
        self.write("arch/layers.txt", LAYERS + "gone\n")
        self.assert_breaches(
            "arch/layers.txt: gone: no such folder under src/",
            "CMakeLists.txt: makes the folders base model cli, "
            "but arch/layers.txt lists base model cli gone",
        )

    def test_folder_listed_twice(self):
        self.write("arch/layers.txt", LAYERS + "base\n")
        self.assertIn(
            "arch/layers.txt: base: listed more than once", check_layers.check(self.root)
        )

    def test_cmake_in_another_order(self):
        calls = CMAKE.strip().splitlines()
        self.write("CMakeLists.txt", "\n".join([*calls[1:], calls[0]]))
        self.assert_breaches(
            "CMakeLists.txt: makes the folders model cli base, "
            "but arch/layers.txt lists base model cli"
        )

    def test_cmake_depends_on_a_folder_below(self):
        self.write("CMakeLists.txt", CMAKE.replace("fathom_base", "fathom_cli fathom_nothing"))
        self.assert_breaches(
            "CMakeLists.txt:3: model may not depend on cli",
            "CMakeLists.txt:3: model depends on an unknown folder, nothing",
        )


if __name__ == "__main__":
    unittest.main()
