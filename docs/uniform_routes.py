#!/usr/bin/env python3
"""Draws docs/uniform_routes.svg: which layers uniform:K runs, for every K of a model.

    docs/uniform_routes.py > docs/uniform_routes.svg

It is figure 3 of [Glavas24] for the 30 layers of the default model; --layers takes another number.
"""

import argparse

CELL, SIZE = 14, 12  # from one square to the next, and its side
LEFT, TOP = 56, 48


def uniform(cost, layers):
    """The layers from 1 that run: equation 2 of [Glavas24], in integers as Route::uniform has it."""
    run = []
    for before in range(layers):  # how many layers come before this one
        if before == 0 or layers * len(run) <= before * cost:
            run.append(before + 1)
    return run


def svg(layers):
    width, height = LEFT + layers * CELL + 12, TOP + layers * CELL + 12
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">')
    yield f"<title>The layers that uniform:K runs, of {layers}</title>"
    yield f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    yield f'<text x="{LEFT}" y="16">layer</text>'
    yield f'<text x="{LEFT - 8}" y="{TOP - 8}" text-anchor="end">K</text>'
    for number in range(1, layers + 1):
        if number == 1 or number % 5 == 0 or number == layers:
            middle = (number - 0.5) * CELL
            yield (f'<text x="{LEFT + middle:g}" y="{TOP - 8}" text-anchor="middle">{number}</text>')
            yield f'<text x="{LEFT - 8}" y="{TOP + middle + 4:g}" text-anchor="end">{number}</text>'
    squares = {True: [], False: []}  # whether the layer runs
    for cost in range(1, layers + 1):
        run = uniform(cost, layers)
        for layer in range(1, layers + 1):
            squares[layer in run].append(
                f"M{LEFT + (layer - 1) * CELL} {TOP + (cost - 1) * CELL}h{SIZE}v{SIZE}h-{SIZE}z")
    for runs, colour in ((True, "#1f5f99"), (False, "#e3e8ee")):
        yield f'<path fill="{colour}" d="{"".join(squares[runs])}"/>'
    yield "</svg>"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=30)
    print("\n".join(svg(parser.parse_args().layers)))


if __name__ == "__main__":
    main()
