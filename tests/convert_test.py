"""fathom convert, and --quantize: files that are the model they were made of, whole or not there at all."""

import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from goldens import GOLDEN
from program import PROGRAM, ProgramTest

TINY = GOLDEN / "tiny"
TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1")
PROMPTS = ("a", "The sea is", " deep blue", "Once upon", "1, 2, 3,")
MATRICES = 7 * 4 + 1  # of the tiny models with four layers and a tied head


class ConvertTest(ProgramTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.out = self.folder / "out.gguf"

    def greedy(self, model, prompt, *args):
        return json.loads(self.fathom_ok("generate", "--model", model, "--raw", "--prompt", prompt, "--precision", "exact",
                                         "--max-new-tokens", 24, "--json", *args))["tokens"]

    def convert(self, model, out, kind, *args):
        return json.loads(self.fathom_ok("convert", model, out, "--type", kind, "--json", *args))

    def files(self):
        return sorted(path.name for path in self.folder.iterdir())

    def test_every_type_is_read_back(self):
        for kind in TYPES:
            with self.subTest(kind):
                said = self.convert(TINY / "rope-llama3", self.out, kind)
                self.assertEqual((said["type"], said["tensors"], said["output"]), (kind.upper(), 39, str(self.out)))
                self.assertEqual(said["bytes"], self.out.stat().st_size)
                self.assertEqual(sum(said["tensors_by_type"].values()), 39)
                found = json.loads(self.fathom_ok("inspect", self.out, "--json"))
                self.assertEqual((found["name"], found["layers"], found["tied_head"], found["rotary_scaling"]),
                                 ("rope-llama3", 4, True, "frequency factors"))
                # As large as --quantize says that it would be.
                if kind.startswith("q"):
                    planned = json.loads(self.fathom_ok("inspect", TINY / "rope-llama3", "--quantize", kind, "--json"))
                    self.assertEqual(planned["parts"]["embedding"], found["parts"]["embedding"])
                    self.assertEqual(planned["parts"]["layers"][1]["parameters"], found["parts"]["layers"][1]["parameters"])
        self.assertEqual(self.convert(TINY / "rope-llama3", self.out, "q4_0")["tensors_by_type"],
                         {"F32": 10, "Q4_0": MATRICES - 1, "Q8_0": 1})

    def test_float32_generates_what_the_folder_does(self):
        for folder in sorted(TINY.iterdir()):
            self.convert(folder, self.out, "f32")
            for prompt in PROMPTS:
                with self.subTest(folder.name, prompt=prompt):
                    tokens = self.greedy(folder, prompt)
                    self.assertGreater(len(tokens), 0)
                    self.assertEqual(self.greedy(self.out, prompt), tokens)

    def test_quantize_at_load_generates_what_the_file_does(self):
        for kind in ("q8_0", "q4_0", "q4_1"):
            self.convert(TINY / "untied-biases", self.out, kind)
            for prompt in PROMPTS[:2]:
                with self.subTest(kind, prompt=prompt):
                    self.assertEqual(self.greedy(TINY / "untied-biases", prompt, "--quantize", kind),
                                     self.greedy(self.out, prompt))
        rows = self.folder / "rows.jsonl"
        rows.write_text('{"prompt": "a", "response": "b c d"}\n', encoding="utf-8")
        scores = [json.loads(self.fathom_ok("score", "--data", rows, "--raw", "--json", *args)) for args in (
            ["--model", TINY / "untied-biases", "--quantize", "q4_1"], ["--model", self.out])]
        self.assertEqual(scores[0].pop("quantize"), "q4_1")
        self.assertEqual(scores[0], scores[1])
        self.assert_refused(self.fathom("generate", "--model", self.out, "--prompt", "a", "--quantize", "q6_k"), "--quantize")

    def test_checkpoints_and_default_type(self):
        """pytorch_model.bin gives the file that safetensors give; without --type matrices are the folder's."""
        twin = GOLDEN / "torch_checkpoint" / "twin"
        made = []
        for weights in ("model.safetensors", "pytorch_model.bin"):
            folder = self.folder / weights / "model"
            folder.mkdir(parents=True)
            shutil.copy(twin / "config.json", folder)
            shutil.copy(twin / weights, folder)
            for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
                shutil.copy(TINY / "width-60" / file, folder)
            said = json.loads(self.fathom_ok("convert", folder, self.out, "--json"))
            self.assertEqual(set(said["tensors_by_type"]), {"F32", said["type"]})
            made.append(self.out.read_bytes())
        self.assertEqual(made[0], made[1])
        for name, kind in (("untied-biases", "BF16"), ("rope-linear", "F16"), ("width-60", "F32")):
            self.assertEqual(json.loads(self.fathom_ok("convert", TINY / name, self.out, "--json"))["type"], kind)

    def test_gguf_to_gguf(self):
        source = GOLDEN / "tiny_gguf" / "q5_0.gguf"
        said = self.convert(source, self.out, "f32")
        self.assertTrue(any("lost" in note for note in said["notes"]), said)
        for prompt in PROMPTS:
            self.assertEqual(self.greedy(self.out, prompt), self.greedy(source, prompt))
        again = self.folder / "again.gguf"
        self.assertEqual(self.convert(self.out, again, "f32")["notes"], [])
        self.assertEqual(again.read_bytes(), self.out.read_bytes())
        self.assert_refused(self.fathom("convert", source, self.out), "type")

    def test_rows_that_are_no_blocks(self):
        result = self.fathom("convert", TINY / "width-60", self.out, "--type", "q4_0")
        self.assertEqual(result.code, 0)
        self.assertIn("15 tensors have rows that are no multiple of 32 elements, and are F16", result.err)
        self.assertRegex(result.out, r"^\S+out.gguf: 20 tensors \(15 F16, 5 F32\), 0\.2 MB in \d+\.\d s\n$")

    def test_threads_change_no_byte(self):
        self.convert(TINY / "rope-yarn", self.out, "q4_1", "--threads", 1)
        one = self.out.read_bytes()
        self.convert(TINY / "rope-yarn", self.out, "q4_1", "--threads", 5)
        self.assertEqual(self.out.read_bytes(), one)

    def test_never_its_own_input(self):
        folder = self.folder / "model"
        shutil.copytree(TINY / "rope-linear", folder)
        self.fathom_ok("convert", folder, self.out)
        link = self.folder / "link.gguf"
        link.symlink_to(self.out)
        before = self.out.read_bytes()
        for source, target in ((self.out, self.out), (self.out, link), (self.out, self.folder / "." / "out.gguf"),
                               (folder, folder / "model.safetensors"), (folder, folder / "config.json")):
            self.assert_refused(self.fathom("convert", source, target, "--type", "q8_0"), str(target), "another name")
        self.assertEqual(self.out.read_bytes(), before)
        self.fathom_ok("inspect", folder)
        # A file made of the folder may lie in it and be made anew.
        for kind in ("q8_0", "f16"):
            self.convert(folder, folder / "model.gguf", kind)

    def test_targets_that_cannot_be_written(self):
        for target, words in ((self.folder / "no" / "out.gguf", ["cannot write"]), (self.folder, ["cannot write", "regular file"]),
                              (Path("/dev/null"), ["cannot write", "regular file"])):
            self.assert_refused(self.fathom("convert", TINY / "rope-linear", target), str(target), *words)
        self.assertTrue(Path("/dev/null").is_char_device())
        self.assert_refused(self.fathom("convert", self.folder / "no", self.out), "no such file")
        self.assert_refused(self.fathom("convert", self.folder), "needs IN and OUT")
        self.assert_refused(self.fathom("convert", TINY / "rope-linear", self.out, "--type", "q5_0"), "--type")
        self.assertEqual(self.files(), [])

    def test_a_full_disk_leaves_nothing(self):
        """A limit on the size of files stands for the end of the disk."""
        self.out.write_bytes(b"old")

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

        done = subprocess.run([PROGRAM, "convert", TINY / "rope-linear", self.out], preexec_fn=limit, restore_signals=False,
                              capture_output=True, check=False)
        self.assertEqual(done.returncode, 2, done)
        self.assertIn(f"{self.out}: cannot write: File too large", done.stderr.decode())
        self.assertEqual((self.files(), self.out.read_bytes()), (["out.gguf"], b"old"))

    def large_model(self):
        """Some 600 MB of zeros with holes, so that there is time to end a conversion."""
        folder = self.folder / "large"
        shutil.copytree(TINY / "rope-linear", folder)
        (folder / "model.safetensors").unlink()
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config.update(hidden_size=2048, intermediate_size=8192, num_attention_heads=16, num_key_value_heads=16)
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        width, inner, tensors = 2048, 8192, {}
        shapes = {"model.embed_tokens": [384, width], "model.norm": [width]}
        for layer in range(config["num_hidden_layers"]):
            stem = f"model.layers.{layer}"
            shapes |= {f"{stem}.{norm}": [width] for norm in ("input_layernorm", "post_attention_layernorm")}
            shapes |= {f"{stem}.self_attn.{part}_proj": [width, width] for part in "qkvo"}
            shapes |= {f"{stem}.mlp.{part}_proj": [inner, width] for part in ("gate", "up")}
            shapes[f"{stem}.mlp.down_proj"] = [width, inner]
        offset = 0
        for name, shape in shapes.items():
            size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
            tensors[name + ".weight"] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, offset + size]}
            offset += size
        header = json.dumps(tensors).encode()
        with open(folder / "model.safetensors", "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(8 + len(header) + offset)
        return folder

    def test_killed_or_interrupted_leaves_no_file(self):
        model = self.large_model()
        self.out.write_bytes(b"old")
        for number in (signal.SIGKILL, signal.SIGINT):
            with self.subTest(number):
                process = subprocess.Popen([PROGRAM, "convert", model, self.out, "--type", "f32"], stderr=subprocess.PIPE)
                for _ in range(2000):  # until it has begun to write
                    if len(self.files()) > 2 or process.poll() is not None:
                        break
                    time.sleep(0.005)
                process.send_signal(number)
                process.communicate()
                self.assertEqual(process.returncode, -number if number == signal.SIGKILL else 130)
                self.assertEqual(self.out.read_bytes(), b"old")
                for part in self.folder.glob("*.part"):
                    self.assertEqual(number, signal.SIGKILL)
                    part.unlink()

    def test_memory_is_bounded(self):
        """A model of half a gigabyte: its pages count as resident until a tensor is done, 32 MB at most."""
        model = self.large_model()
        process = subprocess.Popen([PROGRAM, "convert", model, self.out, "--type", "q8_0"], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 0)
        self.assertGreater(self.out.stat().st_size, 250 << 20)
        self.assertLess(usage.ru_maxrss * 1024, 160 << 20)

    def test_weights_that_do_not_fit(self):
        folder = self.folder / "model"
        shutil.copytree(TINY / "width-60", folder)
        data = bytearray((folder / "model.safetensors").read_bytes())
        begin = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:begin])
        at = begin + header["model.layers.1.mlp.up_proj.weight"]["data_offsets"][0]
        data[at:at + 4] = bytes.fromhex("00007f4b")  # 16,711,680
        (folder / "model.safetensors").write_bytes(data)
        self.assert_refused(self.fathom("convert", folder, self.out, "--type", "f16"),
                            "model.layers.1.mlp.up_proj.weight", "row 0", "too large for float16")
        self.assertEqual(self.files(), ["model"])


if __name__ == "__main__":
    unittest.main()
