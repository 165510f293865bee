"""PyTorch checkpoints as a person has them: read like safetensors, and hostile ones refused with nothing run."""

import json
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile
from pathlib import Path

from goldens import GOLDEN
from program import PROGRAM, ProgramTest

CHECKPOINTS = GOLDEN / "torch_checkpoint"
TWIN = CHECKPOINTS / "twin"
SECONDS = 10
MOST_RESIDENT = 400 << 20

# Runs its arguments; prints exit code and peak resident bytes on the last line of standard error.
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, file=sys.stderr)
"""


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value


def tensor(key, elements):
    """Opcodes of a float32 tensor of one dimension that is a whole storage."""
    storage = b"(" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(key) + text(b"cpu") + b"J" + \
        struct.pack("<i", elements) + b"tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0J" + struct.pack("<i", elements) + \
        b"\x85K\1\x85\x89ccollections\nOrderedDict\n)RtR"


def pickle(opcodes):
    return b"\x80\x02" + opcodes + b"."


class TorchCheckpointTest(ProgramTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def model(self, name, *files):
        """A model's folder with these files of the twin's weights."""
        path = self.folder / name
        path.mkdir()
        shutil.copy(TWIN / "config.json", path)
        for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
            shutil.copy(GOLDEN / "tiny" / "width-60" / file, path)
        for file in files:
            shutil.copy(TWIN / file, path)
        return path

    def hostile(self, name, records, **options):
        """A model whose checkpoint has these records."""
        path = self.model(name)
        with zipfile.ZipFile(path / "pytorch_model.bin", "w", **options) as archive:
            for record, content in records.items():
                archive.writestr(f"w/{record}", content)
        return path

    def assert_refused_cheaply(self, path, *words):
        for args in (["inspect", path], ["generate", "--model", path, "--raw", "--prompt", "a"]):
            with self.subTest(path.name, command=args[0]):
                start = time.monotonic()
                done = subprocess.run([sys.executable, "-c", MEASURE, PROGRAM, *map(str, args)], cwd=self.folder,
                                      capture_output=True, timeout=60, check=True)
                seconds = time.monotonic() - start
                *message, last = done.stderr.decode().splitlines()
                code, resident = map(int, last.split())
                self.assertEqual((code, len(message), done.stdout), (2, 1, b""), message)
                self.assertIn(str(path / "pytorch_model.bin"), message[0])
                for word in words:
                    self.assertIn(word, message[0])
                self.assertLess(seconds, SECONDS)
                self.assertLess(resident, MOST_RESIDENT)
                print(f"{path.name}: {seconds:.2f} s, {resident >> 20} MiB; {message[0]}")

    def test_is_read_like_its_safetensors_twin(self):
        shards = [f"pytorch_model-{i:05}-of-00002.bin" for i in (1, 2)]
        models = [self.model("safetensors", "model.safetensors"), self.model("one", "pytorch_model.bin"),
                  self.model("shards", "pytorch_model.bin.index.json", *shards)]
        for precision in ("exact", "fast"):
            for depth in ("full", "first:1"):
                results = []
                for model in models:
                    result = json.loads(self.fathom_ok(
                        "generate", "--model", model, "--raw", "--prompt", "The sea is 12 deep.", "--max-new-tokens", 20,
                        "--precision", precision, "--depth", depth, "--logprobs", 5, "--json"))
                    results.append([result[key] for key in ("text", "tokens", "prompt_tokens", "logprobs")])
                self.assertEqual(results[0], results[1])
                self.assertEqual(results[0], results[2])
                self.assertGreater(len(results[0][1]), 0)
        parts = [json.loads(self.fathom_ok("inspect", model, "--json"))["parts"] for model in models]
        self.assertEqual(parts[0], parts[1])
        self.assertEqual(parts[0], parts[2])

    def test_safetensors_go_first(self):
        model = self.model("both", "model.safetensors")
        (model / "pytorch_model.bin").write_bytes(b"damaged")
        self.fathom_ok("inspect", model)
        (model / "model.safetensors").unlink()
        self.assert_refused(self.fathom("inspect", model), "pytorch_model.bin", "a PyTorch checkpoint expected")

    def test_files_under_other_names(self):
        result = self.fathom("inspect", TWIN / "pytorch_model.bin")
        self.assert_refused(result, "a PyTorch checkpoint (to use it, give the model's folder", "a GGUF file expected")
        gguf = GOLDEN / "tiny_gguf" / "f32.gguf"
        for name, source, found in (("gguf", gguf, "a GGUF file found"),
                                    ("safetensors", TWIN / "model.safetensors", "a safetensors file found"),
                                    ("legacy", CHECKPOINTS / "legacy.bin", "from before PyTorch 1.6 found"),
                                    ("torchscript", CHECKPOINTS / "torchscript.bin", "a TorchScript archive found")):
            model = self.model(name)
            shutil.copy(source, model / "pytorch_model.bin")
            self.assert_refused_cheaply(model, found)
        model = self.model("renamed")
        shutil.copy(TWIN / "pytorch_model.bin", model / "model.safetensors")
        self.assert_refused(self.fathom("inspect", model), "a PyTorch checkpoint (", "a safetensors file expected")

    def test_shards_do_not_leave_the_folder(self):
        model = self.model("leaves")
        shutil.copy(TWIN / "pytorch_model.bin", self.folder)
        for shard in ("../pytorch_model.bin", str(self.folder / "pytorch_model.bin"), "model.safetensors"):
            (model / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
            self.assert_refused(self.fathom("inspect", model), "the name of a .bin file in the folder expected")

    def test_runs_nothing(self):
        model = self.model("golden")
        shutil.copy(CHECKPOINTS / "runs_code.bin", model / "pytorch_model.bin")
        self.assertIn(b"touch fathom_ran_code", (model / "pytorch_model.bin").read_bytes())
        self.assert_refused_cheaply(model, "data.pkl, byte ", "system is not one that a checkpoint of weights uses")
        command = text(b"touch fathom_ran_code")
        for name, opcodes, words in (
                ("global", b"cos\nsystem\n" + command + b"\x85R", "the global os.system is not one"),
                ("stack-global", text(b"os") + text(b"system") + b"\x93" + command + b"\x85R", "the global os.system"),
                ("inst", b"(" + command + b"ios\nsystem\n", "opcode INST is not one"),
                ("obj", b"(cos\nsystem\n" + command + b"o", "the global os.system is not one"),
                ("extension", b"\x82\x01", "opcode EXT1 is not one"),
                ("build", b"ccollections\nOrderedDict\n)R" + text(b"__setstate__") + b"b", "BUILD: a text found"),
                ("nested", b"ctorch._utils\n_rebuild_parameter\n(cbuiltins\neval\n" + command + b"\x85R\x88NtR",
                 "the global builtins.eval is not one")):
            records = {"data.pkl": pickle(opcodes), "version": "3\n"}
            self.assert_refused_cheaply(self.hostile(name, records), words)
        self.assertEqual(list(self.folder.rglob("fathom_ran_code")), [])

    def test_bombs_take_little_memory_and_time(self):
        megabytes = 50 << 20
        version = {"version": "3\n"}
        for name, opcodes in (("nones", b"N" * megabytes), ("dicts", b"}" * megabytes),
                              ("tuples", b"N" + b"\x85" * megabytes), ("marks", b"(" * megabytes),
                              ("memos", b"N" + b"\x94" * megabytes),
                              ("keys", b"}(" + b"NN" * 900_000 + b"u" + b"N" * megabytes)):
            self.assert_refused_cheaply(self.hostile(name, {"data.pkl": pickle(opcodes), **version}), "more than 2000000 values")

        # Many calls with the same arguments, for the most memory that a byte can ask for.
        one = b"(" + text(b"storage") + b"ctorch\nFloatStorage\nq\0" + text(b"0") + text(b"cpu") + b"K\1tq\1Qq\2"
        shape = b"(" + b"K\1" * 8 + b"tq\3"
        hooks = b"ccollections\nOrderedDict\nq\4)Rq\5"
        arguments = b"(h\2K\0h\3h\3\x89h\5tq\6"
        start = b"]" + one + shape + hooks + arguments + b"ctorch._utils\n_rebuild_tensor_v2\nq\7"
        for name, unit in (("reductions", b"h\7h\6R"), ("storages", b"h\1Q"), ("ordered-dicts", b"h\4)R")):
            records = {"data.pkl": pickle(start + unit * (megabytes // len(unit))), **version}
            self.assert_refused_cheaply(self.hostile(name, records), "more than 2000000 values")
        nested = b"N"
        for number in range(60):
            nested += b"q" + bytes([number]) + b"h" + bytes([number]) + b"\x86"
        self.assert_refused_cheaply(self.hostile("doubling", {"data.pkl": pickle(nested), **version}), "a tuple found")

        # A key, then a name, of 30 MB for each of many tensors.
        key = b"k" * (30 << 20)
        items = text(b"0") + tensor(key, 4) + b"q\0" + b"".join(text(b"%d" % i) + b"h\0" for i in range(1, 300_000))
        self.assert_refused_cheaply(self.hostile("long-key", {"data.pkl": pickle(b"}(" + items + b"u"), **version}),
                                    "is not in the archive")
        # The same bytes under many names.
        items = text(b"0") + tensor(b"0", 1 << 20) + b"q\0" + b"".join(text(b"%d" % i) + b"h\0" for i in range(1, 300_000))
        records = {"data.pkl": pickle(b"}(" + items + b"u"), "data/0": bytes(4 << 20), **version}
        self.assert_refused_cheaply(self.hostile("names", records), "more than 8 times the file's bytes")

        zeros = {"data.pkl": pickle(b"N"), "data/0": bytes(megabytes), **version}
        self.assert_refused_cheaply(self.hostile("deflated", zeros, compression=zipfile.ZIP_DEFLATED), "it is compressed")
        many = self.model("many-entries")
        with zipfile.ZipFile(many / "pytorch_model.bin", "w") as archive:
            for number in range(200_000):
                archive.writestr(zipfile.ZipInfo(f"w/{number}"), b"")
        self.assert_refused_cheaply(many, "a zip archive without data.pkl found")


if __name__ == "__main__":
    unittest.main()
