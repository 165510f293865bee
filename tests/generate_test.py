"""fathom generate: routes against the goldens, sampling, chats, mistakes, interruption."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import tempfile
import time
import unittest

from goldens import agreement, read_golden
from program import PROGRAM, ProgramTest, model_path

END_TOKENS = {0, 2}
LATER_POLICIES = ["router:file@10"]


class Generating(ProgramTest):
    """Runs the command and reads its JSON."""

    @classmethod
    def setUpClass(cls):
        model_path()  # says what to do if there is none

    def generate(self, *args, **options):
        return json.loads(self.fathom_ok("generate", *args, "--json", **options))


class GreedyTest(Generating):
    def test_goldens(self):
        """Hugging Face's greedy tokens at each route, from a text given with --raw or as a chat."""
        prompts = {prompt["name"]: prompt for prompt in read_golden("engine.json")["prompts"]}
        for name, new_tokens in {"plain-sea": 24, "code-python": 64, "chat-capital": 24}.items():
            prompt = prompts[name]
            self.assertEqual(
                {route.split(":")[0] for route in prompt["greedy"]},
                {"full", "first", "uniform", "layers"},
            )
            for route, golden in prompt["greedy"].items():
                with self.subTest(name, route=route):
                    raw = [] if prompt["chat"] else ["--raw"]
                    result = self.generate("--prompt", prompt["text"], *raw, "--depth", route,
                                           "--precision", "exact", "--max-new-tokens", new_tokens)
                    self.assertEqual(result["prompt_tokens"], prompt["ids"])
                    self.assertIsNone(agreement(result["tokens"], golden, END_TOKENS))
                    if result["stop_reason"] == "max_new_tokens":
                        self.assertEqual(len(result["tokens"]), new_tokens)

    def test_threads_do_not_change_the_tokens(self):
        for precision, new_tokens in {"exact": 12, "fast": 40}.items():
            results = [
                self.generate("--prompt", "Tell me about the deep sea.", "--precision", precision,
                              "--threads", threads, "--max-new-tokens", new_tokens, "--logprobs", 3)
                for threads in (1, 2, 3)
            ]
            for other in results[1:]:
                self.assertEqual(other["tokens"], results[0]["tokens"])
                self.assertEqual(other["logprobs"], results[0]["logprobs"])

    def test_mean_layers(self):
        for depth, layers in {"full": 30, "first:7": 7, "uniform:15": 15, "random:9": 9,
                              "random-free:9": 9, "layers:1,3,5-9": 7}.items():
            result = self.generate("--prompt", "hi", "--depth", depth, "--max-new-tokens", 3)
            self.assertEqual(result["depth"], depth)
            if len(result["tokens"]) > 1:
                self.assertEqual(result["mean_layers"], layers)
        alone = self.generate("--prompt", "hi", "--depth", "first:7", "--max-new-tokens", 1)
        self.assertIsNone(alone["mean_layers"])

    def test_confidence(self):
        """Tokens leave earlier the lower the threshold, and never at 1."""
        args = ["--prompt", "Name three seas.", "--max-new-tokens", 24]
        layers = []
        for threshold in ("0.01", "0.5", "1"):
            result = self.generate(*args, "--depth", f"confidence:{threshold}")
            self.assertEqual(result["depth"], f"confidence:{threshold}")
            self.assertIsNone(result["route"])
            self.assertIsNone(result["timing"]["decode_gb_per_s"])
            layers.append(result["mean_layers"])
        self.assertTrue(1 <= layers[0] < layers[1] < layers[2] == 30, layers)
        self.assertEqual(result["tokens"], self.generate(*args)["tokens"])
        told = self.fathom("generate", *args, "--depth", "confidence:0.5")
        self.assertIn(f"mean layers {layers[1]:.1f} of 30", told.err)
        self.assertNotIn("GB/s", told.err)

    def test_threads_do_not_change_who_leaves(self):
        for precision in ("exact", "fast"):
            results = [self.generate("--prompt", "Tell me about the deep sea.", "--depth", "confidence:0.3", "--threads", threads,
                                     "--precision", precision, "--max-new-tokens", 16, "--logprobs", 2) for threads in (1, 2)]
            for key in ("tokens", "mean_layers", "logprobs"):
                self.assertEqual(results[0][key], results[1][key])

    def test_first_token_is_the_full_networks(self):
        first = {tuple(self.generate("--raw", "--prompt", "The sea", "--depth", depth,
                                     "--max-new-tokens", 1)["tokens"])
                 for depth in ("full", "first:1", "uniform:5", "confidence:0.1")}
        self.assertEqual(len(first), 1)


class OutputTest(Generating):
    def test_text_and_json_agree(self):
        args = ["--prompt", "Name three seas.", "--max-new-tokens", 24]
        result = self.generate(*args)
        self.assertEqual(self.fathom_ok("generate", *args), result["text"] + "\n")
        visible = [token for token in result["tokens"] if token not in END_TOKENS]
        self.assertEqual(self.fathom_ok("detokenize", json.dumps(visible)), result["text"] + "\n")

    def test_json(self):
        result = self.generate("--prompt", "Name three seas.", "--max-new-tokens", 5)
        self.assertEqual(
            set(result),
            {"depth", "route", "prompt_tokens", "tokens", "text", "stop_reason", "mean_layers", "timing"},
        )
        self.assertEqual((result["route"], result["stop_reason"]), ("1-30", "max_new_tokens"))
        self.assertEqual(len(result["tokens"]), 5)
        for name, value in result["timing"].items():
            self.assertGreater(value, 0, name)

    def test_statistics_go_to_standard_error(self):
        result = self.fathom("generate", "--prompt", "Name three seas.", "--max-new-tokens", 5)
        self.assertRegex(result.err, r"prompt +\d+ tokens +[\d.]+ tokens/s")
        self.assertRegex(result.err, r"decode +4 tokens +[\d.]+ tokens/s +[\d.]+ GB/s")
        self.assertIn("mean layers 30.0 of 30", result.err)
        self.assertRegex(result.err, r"first token after [\d.]+ s")

    def test_end_token_is_among_the_tokens_and_not_in_the_text(self):
        result = self.generate("--prompt", "hi", "--max-new-tokens", 200)
        self.assertEqual(result["stop_reason"], "end_token")
        self.assertIn(result["tokens"][-1], END_TOKENS)
        self.assertFalse(set(result["tokens"][:-1]) & END_TOKENS)
        self.assertNotIn("<|im_end|>", result["text"])

    def test_stop_string(self):
        args = ["--prompt", "Name three seas.", "--max-new-tokens", 40]
        whole = self.generate(*args)["text"]
        # Across tokens, wherever they are cut.
        stop = whole[10:17]
        result = self.generate(*args, "--stop", "never said", "--stop", stop)
        self.assertEqual(result["stop_reason"], "stop_string")
        self.assertEqual(result["text"], whole[: whole.index(stop)])
        self.assertEqual(self.fathom_ok("generate", *args, "--stop", stop), result["text"] + "\n")

    def test_logprobs(self):
        args = ["--prompt", "Name three seas.", "--max-new-tokens", 4, "--logprobs", 5]
        result = self.generate(*args)
        self.assertEqual([each["token"] for each in result["logprobs"]], result["tokens"])
        for each in result["logprobs"]:
            likeliest = [alternative["logprob"] for alternative in each["alternatives"]]
            self.assertEqual(len(likeliest), 5)
            self.assertEqual(likeliest, sorted(likeliest, reverse=True))
            self.assertLess(max(likeliest), 0)
            self.assertEqual(each["alternatives"][0]["token"], each["token"])  # greedy
            self.assertEqual(each["logprob"], likeliest[0])
        text = self.fathom("generate", *args).err
        self.assertIn(f"{result['logprobs'][0]['logprob']:.4f}", text)

    def test_prompt_file(self):
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
            file.write("How deep\nis the sea?")
            file.flush()
            from_file = self.generate("--prompt-file", file.name, "--max-new-tokens", 2)
        given = self.generate("--prompt", "How deep\nis the sea?", "--max-new-tokens", 2)
        self.assertEqual(from_file["prompt_tokens"], given["prompt_tokens"])

    def test_system_message(self):
        result = self.generate("--system", "Be brief.", "--prompt", "hi", "--max-new-tokens", 1)
        text = self.fathom_ok("detokenize", json.dumps(result["prompt_tokens"]))
        self.assertTrue(text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n"), text)


class SamplingTest(Generating):
    def sample(self, *args):
        return self.generate("--prompt", "Tell me a story.", "--max-new-tokens", 16, *args)["tokens"]

    def test_seed(self):
        hot = ["--temperature", "1", "--seed"]
        self.assertEqual(self.sample(*hot, "1"), self.sample(*hot, "1"))
        self.assertNotEqual(self.sample(*hot, "1"), self.sample(*hot, "2"))

    def test_filters_that_leave_one_token_are_greedy(self):
        greedy = self.sample()
        self.assertNotEqual(self.sample("--temperature", "1"), greedy)
        for option in (["--top-k", "1"], ["--top-p", "0.000001"], ["--min-p", "1"]):
            self.assertEqual(self.sample("--temperature", "1", *option), greedy, option)

    def test_repetition_penalty(self):
        tokens = self.sample("--repetition-penalty", "1000")
        self.assertEqual(len(set(tokens)), len(tokens))

    def test_seed_of_random_routes(self):
        routes = [self.generate("--prompt", "hi", "--depth", "random:15", "--max-new-tokens", 1,
                                "--seed", seed)["route"] for seed in (1, 1, 2)]
        self.assertEqual(routes[0], routes[1])
        self.assertNotEqual(routes[0], routes[2])


class MistakeTest(Generating):
    def refuse(self, *args, words, **options):
        with self.subTest(args):
            self.assert_refused(self.fathom("generate", *args, **options), *words)

    def test_values_out_of_range(self):
        for option, values in {
            "--temperature": ["-1", "nan", "inf", "x"],
            "--top-k": ["0", "-1", "x", "1.5"],
            "--top-p": ["0", "1.1", "-1", "nan"],
            "--min-p": ["-0.1", "1.1", "nan"],
            "--repetition-penalty": ["0", "-1", "nan", "inf"],
            "--seed": ["-1", "x", "1.5"],
            "--logprobs": ["-1", "1001", "x"],
            "--threads": ["0", "-1", "1025", "x"],
            "--precision": ["half", ""],
            "--max-new-tokens": ["0", "-1", "x"],
        }.items():
            for value in values:
                word = option.removeprefix("--").split("-")[0]
                self.refuse("--prompt", "hi", "--max-new-tokens=1", f"{option}={value}", words=[word])
        self.refuse("--prompt", "hi", "--stop", "", words=["stop"])

    def test_depths(self):
        for depth, words in {
            "first:31": ["31", "1 to 30"],
            "uniform:0": ["uniform:0"],
            "random:31": ["1 to 30"],
            "layers:31": ["31", "1 to 30"],
            "layers:0": ["layers:0"],
            "layers:1,1": ["twice"],
            "layers:3-1": ["3-1"],
            "layers:": ["layers:"],
            "uniform": ["uniform:K"],
            "confidence": ["confidence:T"],
            "confidence:0": ["above 0, up to 1"],
            "confidence:1.5": ["above 0, up to 1", "1.5"],
            "confidence:high": ["above 0, up to 1", "high"],
            "controller:": ["the file of the controllers"],
            "full:3": ["full"],
            "": ["depth"],
            "deep": ["deep", "uniform:K"],
        }.items():
            self.refuse("--prompt", "hi", f"--depth={depth}", words=words)

    def test_policies_of_later_versions(self):
        for policy in LATER_POLICIES:
            self.refuse("--prompt", "hi", "--depth", policy,
                        words=[policy.split(":")[0], "not available"])

    def test_inputs_that_do_not_go_together(self):
        self.refuse(words=["--prompt", "--prompt-file", "-i"])
        self.refuse("--prompt", "hi", "-i", words=["one of"])
        self.refuse("-i", "--json", words=["--json"])
        self.refuse("-i", "--raw", words=["--raw"])
        self.refuse("--raw", "--system", "x", "--prompt", "hi", words=["--system"])
        self.refuse("--raw", "--prompt", "", words=["empty"])
        self.refuse("--prompt-file", "/nonexistent", words=["/nonexistent"])
        self.refuse("--prompt-file", "/", words=["/"])

    def test_prompt_longer_than_the_context(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("sea " * 9000)
            file.flush()
            for raw in ([], ["--raw"]):
                self.refuse("--prompt-file", file.name, *raw, words=["prompt", "context", "8192"])


class ChatTest(Generating):
    def test_two_turns_from_a_pipe(self):
        turns = ["My name is Ada.", "What is my name?"]
        args = ["generate", "-i", "--max-new-tokens", 24]
        result = self.fathom(*args, input="\n".join(turns) + "\n")
        self.assertEqual(result.code, 0, result)
        self.assertEqual(result.err.count("first token after"), 2)
        first = self.fathom_ok("generate", "--prompt", turns[0], "--max-new-tokens", 24)
        self.assertTrue(result.out.startswith(first), result.out)
        alone = self.fathom_ok("generate", "--prompt", turns[1], "--max-new-tokens", 24)
        self.assertNotEqual(result.out, first + alone)  # the second turn saw the first

    def test_routed_chat_prefills_its_answers_again(self):
        for depth in ("uniform:28", "confidence:0.01"):
            result = self.fathom("generate", "-i", "--depth", depth, "--max-new-tokens", 8,
                                 input="Tell me about rivers.\nAnd about seas?\n")
            self.assertEqual(result.code, 0, result)
            counts = [int(n) for n in re.findall(r"prompt +(\d+) tokens", result.err)]
            # Not the whole chat again, but the answer of 8 tokens and the next question.
            self.assertGreater(counts[1], 8 + 5)
            self.assertLess(counts[1], counts[0])

    def test_no_turns(self):
        self.assertEqual(self.fathom("generate", "-i", input=""), (0, "", ""))

    def terminal(self, *args):
        """The program with a terminal of its own; returns the process and the terminal's end."""
        child, terminal = pty.fork()
        if child == 0:
            os.execv(PROGRAM, [PROGRAM, "generate", "-i", *args])
        self.addCleanup(os.close, terminal)
        return child, terminal

    def read_until(self, terminal, text, count=1, seconds=60):
        seen, end = "", time.monotonic() + seconds
        while seen.count(text) < count:
            ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
            self.assertTrue(ready, f"no {text!r} in {seconds} s: {seen!r}")
            seen += os.read(terminal, 65536).decode(errors="replace")
        return seen

    def exit_code(self, child, terminal):
        """Reads what is left, so that the child can write it, until it ends."""
        try:
            while select.select([terminal], [], [], 30)[0] and os.read(terminal, 65536):
                pass
        except OSError:  # Linux: the other end is closed
            pass
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def test_terminal(self):
        child, terminal = self.terminal("--max-new-tokens", "6")
        self.read_until(terminal, "> ")
        os.write(terminal, b"hi\n")
        self.assertIn("first token after", self.read_until(terminal, "> "))
        os.write(terminal, b"and now?\n")
        self.read_until(terminal, "> ")
        os.write(terminal, b"\x04")
        self.assertEqual(self.exit_code(child, terminal), 0)

    def test_interrupt_at_the_terminal_while_it_waits(self):
        child, terminal = self.terminal()
        self.read_until(terminal, "> ")
        os.write(terminal, b"\x03")
        self.assertEqual(self.exit_code(child, terminal), 130)

    def test_interrupt_at_the_terminal_while_it_answers(self):
        child, terminal = self.terminal("--max-new-tokens", "2000")
        self.read_until(terminal, "> ")
        os.write(terminal, b"Write a very long story about the sea.\n")
        self.read_until(terminal, " ", count=12)
        os.write(terminal, b"\x03")
        self.assertEqual(self.exit_code(child, terminal), 130)


class InterruptTest(Generating):
    def start(self, *args, **options):
        process = subprocess.Popen(
            [PROGRAM, "generate", "--prompt", "Write a very long story about the sea.",
             "--max-new-tokens", "2000", *args],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )
        self.addCleanup(process.kill)
        return process

    def test_interrupt_keeps_what_was_said(self):
        process = self.start()
        first = process.stdout.read(8)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 130, err)
        self.assertEqual(len(first), 8)
        self.assertTrue((first + out).decode().endswith("\n"))
        self.assertIn("interrupted", err.decode())

    def test_interrupt_with_json_prints_the_object(self):
        process = self.start("--json")
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 130, err)
        self.assertEqual(json.loads(out)["stop_reason"], "interrupted")

    def test_reader_goes_away(self):
        process = self.start(restore_signals=True)
        process.stdout.read(10)
        process.stdout.close()
        err = process.stderr.read()
        process.stderr.close()
        code = process.wait(timeout=60)
        self.assertIn(code, (-signal.SIGPIPE, 1), err)

    def test_full_device(self):
        for args in (["generate", "--prompt", "hi", "--max-new-tokens", "2"],
                     ["generate", "--prompt", "hi", "--max-new-tokens", "2", "--json"],
                     ["tokenize", "hi"], ["inspect"], ["inspect", "--json"]):
            with self.subTest(args), open("/dev/full", "wb") as full:
                done = subprocess.run([PROGRAM, *args], stdout=full, stderr=subprocess.PIPE, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertIn(b"standard output", done.stderr)


if __name__ == "__main__":
    unittest.main()
