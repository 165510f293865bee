#!/usr/bin/env python3
"""Holds the folders under src/ to their order.

arch/layers.txt lists the folders; a folder may include from itself and from those above it in the
list. CMakeLists.txt must make the same folders, in the same order, each from those above it.
Prints every breach as FILE:LINE: what is wrong, and then exits with 1.
"""

import re
import sys
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
FOLDER_CALL = re.compile(r"^\s*fathom_folder\(\s*(\w+)([^)]*)\)", re.MULTILINE)
SOURCE_SUFFIXES = {".h", ".cc", ".inc"}


def read_layers(path):
    """The names in the list, in order: one a line, comments from # on."""
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def check_folders(src, layers):
    """Every folder under src/ is in the list, every name of the list is a folder there, once."""
    found = {entry.name for entry in src.iterdir() if entry.is_dir()}
    for name in sorted(found - set(layers)):
        yield f"src/{name}: not in arch/layers.txt"
    for name in sorted(set(layers) - found):
        yield f"arch/layers.txt: {name}: no such folder under src/"
    for name in sorted({name for name in layers if layers.count(name) > 1}):
        yield f"arch/layers.txt: {name}: listed more than once"
    for entry in sorted(src.iterdir()):
        if entry.is_file() and entry.suffix in SOURCE_SUFFIXES:
            yield f"src/{entry.name}: outside every folder"


def check_includes(src, layers):
    """Includes reach the same folder or one above it in the list."""
    rank = {name: i for i, name in enumerate(layers)}
    for path in sorted(src.glob("*/**/*")):
        if path.suffix not in SOURCE_SUFFIXES or not path.is_file():
            continue
        folder = path.relative_to(src).parts[0]
        if folder not in rank:
            continue  # check_folders says so
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            match = INCLUDE.match(line)
            if not match:
                continue
            quote, target = match.groups()
            first, slash, _ = target.partition("/")
            place = f"src/{path.relative_to(src)}:{number}"
            if quote == "<":
                if slash and first in rank:
                    yield f'{place}: write "{target}", not <{target}>'
                continue
            if not slash:
                yield f'{place}: "{target}" must name its folder'
            elif first not in rank:
                yield f'{place}: "{target}": unknown folder {first}/'
            elif rank[first] > rank[folder]:
                yield f"{place}: {folder}/ may not include from {first}/, which is below it"


def check_cmake(path, layers):
    """The calls of fathom_folder() match the list, and depend on folders above only."""
    text = "\n".join(line.split("#")[0] for line in path.read_text().splitlines())
    calls = list(FOLDER_CALL.finditer(text))
    made = [call.group(1) for call in calls]
    if made != layers:
        yield (
            f"CMakeLists.txt: makes the folders {' '.join(made)}, "
            f"but arch/layers.txt lists {' '.join(layers)}"
        )
    rank = {name: i for i, name in enumerate(layers)}
    for call in calls:
        name = call.group(1)
        line = text.count("\n", 0, call.start(1)) + 1
        for dependency in re.findall(r"\bfathom_(\w+)", call.group(2)):
            if dependency not in rank:
                yield f"CMakeLists.txt:{line}: {name} depends on an unknown folder, {dependency}"
            elif name in rank and rank[dependency] >= rank[name]:
                yield f"CMakeLists.txt:{line}: {name} may not depend on {dependency}"


def check(root):
    """All breaches in the tree at `root`, as lines to print."""
    layers = read_layers(root / "arch" / "layers.txt")
    src = root / "src"
    return [
        *check_folders(src, layers),
        *check_includes(src, layers),
        *check_cmake(root / "CMakeLists.txt", layers),
    ]


def main():
    breaches = check(Path(__file__).resolve().parent.parent)
    for breach in breaches:
        print(breach, file=sys.stderr)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
