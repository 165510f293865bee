"""The command line as a person meets it: version, help, mistakes."""

import unittest

from program import ProgramTest

SUBCOMMANDS = ["inspect", "tokenize", "detokenize", "generate", "score", "rouge", "oracle", "bench", "convert"]


class CommandLineTest(ProgramTest):
    def test_version(self):
        self.assertRegex(self.fathom_ok("--version"), r"^fathom \d+\.\d+\.\d+")

    def test_help_lists_every_subcommand(self):
        text = self.fathom_ok("--help")
        for subcommand in SUBCOMMANDS:
            self.assertIn(subcommand, text)

    def test_help_of_every_subcommand_shows_an_example(self):
        for subcommand in SUBCOMMANDS:
            with self.subTest(subcommand):
                self.assertIn("Example", self.fathom_ok(subcommand, "--help"))

    def test_unknown_option_is_refused(self):
        for subcommand in SUBCOMMANDS:
            with self.subTest(subcommand):
                self.assert_refused(self.fathom(subcommand, "--no-such-option"), "--no-such-option")

    def test_unknown_subcommand_is_refused(self):
        self.assert_refused(self.fathom("no-such-subcommand"), "no-such-subcommand")

    def test_no_subcommand_is_refused(self):
        self.assertEqual(self.fathom().code, 2)


if __name__ == "__main__":
    unittest.main()
