"""llama.cpp: fetched, built for several instruction sets, measured by its own programs.

Its sources come in the source package of llama-cpp-python. The programs and libllama are built once; the part with
the instructions (libggml-cpu) is a library that is loaded at run time, of which the folder of each variant has one.
Folders can be moved: everything is found beside the program.
"""

import json
import os
import re
import shutil
import sys
import tarfile
from dataclasses import dataclass

from process import MEASUREMENT_SECONDS, Failed, run

PACKAGE = "llama-cpp-python"
VERSION = "0.3.36"
TOOLS = ("llama-bench", "llama-batched-bench", "llama-quantize")
OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release", "BUILD_SHARED_LIBS": "ON",
    "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON", "CMAKE_INSTALL_RPATH": "$ORIGIN",
    "GGML_BACKEND_DL": "ON", "GGML_CPU_ALL_VARIANTS": "ON", "GGML_NATIVE": "OFF", "GGML_OPENMP": "ON",
    "LLAMA_CURL": "OFF", "LLAMA_OPENSSL": "OFF", "LLAMA_BUILD_COMMON": "ON", "LLAMA_BUILD_TOOLS": "ON",
    "LLAMA_BUILD_TESTS": "OFF", "LLAMA_BUILD_EXAMPLES": "OFF", "LLAMA_BUILD_SERVER": "OFF", "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_UI": "OFF", "LLAMA_TOOLS_INSTALL": "OFF",
}

# (file, text, what stands for it): each text must be there exactly once.
PATCHES = (
    # GCC 12 moves the stores into the tile configuration past the instruction that reads it, which then
    # faults. A barrier for the compiler keeps them before it.
    ("ggml/src/ggml-cpu/amx/mmq.cpp", "    _tile_loadconfig(&tc);\n",
     "    asm volatile(\"\" ::: \"memory\");\n    _tile_loadconfig(&tc);\n"),
    # Else the programs would wait for all fourteen variants of libggml-cpu.
    ("ggml/src/CMakeLists.txt", "        add_dependencies(ggml ${backend})\n", ""),
)


@dataclass(frozen=True)
class Variant:
    library: str  # of libggml-cpu
    needs: tuple  # what the processor must have, as Linux names it
    has: tuple  # what llama.cpp must say of itself
    has_not: tuple = ()


VARIANTS = {
    "llama.cpp-amx": Variant("sapphirerapids", ("amx_tile", "amx_int8", "avx512_vnni", "avx512_bf16", "avx512vbmi"),
                             ("AMX_INT8", "AVX512_VNNI", "OPENMP", "REPACK", "LLAMAFILE")),
    "llama.cpp-avx512": Variant("icelake", ("avx512_vnni", "avx512vbmi", "avx512bw", "avx512dq", "avx512vl"),
                                ("AVX512_VNNI", "OPENMP", "REPACK", "LLAMAFILE"), ("AMX_INT8",)),
    "llama.cpp-avx2": Variant("haswell", ("avx2", "fma", "f16c", "bmi2"),
                              ("AVX2", "OPENMP", "REPACK", "LLAMAFILE"), ("AVX512", "AVX_VNNI", "AMX_INT8")),
}

# Loads what stands in the folder and prints what it says of itself.
PROBE = """
import ctypes, sys
folder = sys.argv[1].encode()
ggml = ctypes.CDLL(sys.argv[1] + "/libggml.so")
ggml.ggml_backend_load_all_from_path(folder)
llama = ctypes.CDLL(sys.argv[1] + "/libllama.so")
llama.llama_print_system_info.restype = ctypes.c_char_p
print(llama.llama_print_system_info().decode())
"""


class LlamaCpp:
    """llama.cpp under `folder`; `say` is told what goes on."""

    def __init__(self, folder, say):
        self.folder = folder
        self.say = say

    @property
    def version(self):
        return f"sources in {PACKAGE} {VERSION}"

    def build(self, contenders):
        """Builds the variants that are not there yet."""
        missing = [name for name in contenders if not self._stamp(name).exists()]
        if not missing:
            return
        for tool in ("cmake", "ninja"):
            if not shutil.which(tool):
                raise Failed(f"{tool} is needed to build llama.cpp")
        self.folder.mkdir(parents=True, exist_ok=True)
        source, tree = self.folder / "source", self.folder / "build"
        if not source.exists():
            self._fetch(source)
        cache = tree / "CMakeCache.txt"
        if cache.exists() and f"CMAKE_CACHEFILE_DIR:INTERNAL={tree}\n" not in cache.read_text():
            shutil.rmtree(tree)  # it was moved, which CMake refuses
        self.say(f"building llama.cpp for {', '.join(missing)} (minutes; log in {self.folder})")
        run(["cmake", "-S", source, "-B", tree, "-G", "Ninja", *(f"-D{key}={value}" for key, value in OPTIONS.items())],
            log=self.folder / "configure.log")
        libraries = [f"ggml-cpu-{VARIANTS[name].library}" for name in missing]
        run(["cmake", "--build", tree, "--target", *TOOLS, *libraries], log=self.folder / "build.log")
        for name in missing:
            self._collect(tree / "bin", name)

    def _fetch(self, source):
        self.say(f"fetching {PACKAGE} {VERSION} (77 MB)")
        run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--no-binary", PACKAGE, "--dest", self.folder, f"{PACKAGE}=={VERSION}"], log=self.folder / "pip.log")
        archives = sorted(self.folder.glob("llama_cpp_python-*.tar.gz"))
        if not archives:
            raise Failed(f"pip left no source package in {self.folder}")
        unpacked = self.folder / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        with tarfile.open(archives[-1]) as archive:
            archive.extractall(unpacked, filter="data")
        inside = next(unpacked.glob("*/vendor/llama.cpp"), None)
        if inside is None:
            raise Failed(f"{archives[-1]} has no vendor/llama.cpp")
        for file, text, instead in PATCHES:
            patch(inside / file, text, instead)
        inside.rename(source)
        shutil.rmtree(unpacked)

    def _collect(self, binaries, name):
        """The folder of a variant: programs, what they load, and one libggml-cpu."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for file in binaries.iterdir():
            wanted = file.name in TOOLS or ".so" in file.name and not file.name.startswith("libggml-cpu-")
            if wanted or file.name == f"libggml-cpu-{VARIANTS[name].library}.so":
                shutil.copy2(file, folder, follow_symlinks=False)
        self._stamp(name).write_text(f"{VERSION}\n")

    def _stamp(self, name):
        return self.folder / name / f"built-{VERSION}"

    def check(self, name):
        """Raises Failed unless the variant loads and has the instructions that it is there for."""
        info = run([sys.executable, "-c", PROBE, self.folder / name])
        found, variant = parse_system_info(info), VARIANTS[name]
        lacks = [each for each in variant.has if each not in found]
        excess = [each for each in variant.has_not if each in found]
        if lacks or excess:
            what = " and ".join(filter(None, (lacks and f"lacks {', '.join(lacks)}",
                                              excess and f"has {', '.join(excess)}")))
            raise Failed(f"as built, it {what}")
        return sorted(found)

    def quantize(self, contenders, model, type_, target):
        """A file of another type, made of the model's file."""
        beside = target.with_name(target.name + ".new")
        run([self.folder / contenders[0] / "llama-quantize", "--allow-requantize", model, beside, type_],
            log=target.with_suffix(".log"))
        os.replace(beside, target)

    def measure(self, contender, model, workload, threads):
        output = run(self.command(contender, model, workload, threads), cwd=self.folder / contender,
                     timeout=MEASUREMENT_SECONDS)
        return {"tokens_per_s": parse_batched_bench(output, workload) if workload.batch > 1
                else parse_bench(output, workload)}

    def command(self, contender, model, workload, threads):
        folder = self.folder / contender
        if workload.batch > 1:
            positions = workload.batch * workload.positions
            return [folder / "llama-batched-bench", "-m", model, "-t", threads, "-c", positions,
                    "-npp", workload.context, "-ntg", workload.tokens, "-npl", workload.batch,
                    "--output-format", "jsonl"]
        counts = ["-p", workload.tokens, "-n", 0] if workload.phase == "prefill" else \
            ["-p", 0, "-n", workload.tokens, "-d", workload.context]
        return [folder / "llama-bench", "-m", model, "-t", threads, "-r", 1, "-o", "json", *counts]


def patch(path, text, instead):
    try:
        content = path.read_text()
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
    if content.count(text) != 1:
        raise Failed(f"{path}: {text.strip()!r} was expected once and is there {content.count(text)} times")
    path.write_text(content.replace(text, instead))


def runs_here(name, flags):
    """Why the processor cannot run the variant, or None."""
    lacking = [flag for flag in VARIANTS[name].needs if flag not in flags]
    return f"the processor lacks {', '.join(lacking)}" if lacking else None


def parse_system_info(text):
    """What llama.cpp says of itself: the names that are set."""
    return {name for name, value in re.findall(r"(\w+) = (\d+)", text) if value != "0"}


def parse_bench(text, workload):
    """Tokens/s of the one test of `llama-bench -o json -r 1`."""
    try:
        (test,) = json.loads(text)
        expected = (workload.tokens, 0, 0) if workload.phase == "prefill" else (0, workload.tokens, workload.context)
        if (test["n_prompt"], test["n_gen"], test["n_depth"]) != expected:
            raise ValueError("another test than was asked for")
        (nanoseconds,) = test["samples_ns"]
        return workload.all_tokens / (nanoseconds / 1e9)
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise Failed(f"llama-bench: output not understood ({error!r})") from None


def parse_batched_bench(text, workload):
    """Tokens/s of all sequences together, of `llama-batched-bench --output-format jsonl`."""
    try:
        (test,) = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        if (test["pp"], test["tg"], test["pl"]) != (workload.context, workload.tokens, workload.batch):
            raise ValueError("another test than was asked for")
        return workload.all_tokens / test["t_tg"]
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise Failed(f"llama-batched-bench: output not understood ({error!r})") from None
