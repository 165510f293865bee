#!/usr/bin/env python3
"""Makes golden/chi_squared.json: tables of counts and SciPy's chi-squared test of homogeneity of each, without
Yates's correction. Needs numpy and scipy; repeatable (the seed is fixed).

    python golden/chi_squared.py
"""

import json
import pathlib

import numpy as np
import scipy
from scipy.stats import chi2_contingency


def tables():
    draw = np.random.default_rng(1900)
    yield [[10, 20], [20, 10]]
    yield [[1, 0], [0, 1]]
    yield [[5, 5], [5, 5]]
    yield [[100000, 1], [1, 100000]]
    yield [[3, 1, 4], [1, 5, 9], [2, 6, 5]]
    for rows, columns, mean in [(11, 4, 20), (11, 4, 200), (2, 30, 5), (40, 3, 9), (11, 2, 1000)]:
        shares = draw.dirichlet(np.full(columns, 3))
        for spread in (0, 0.5):
            table = [draw.multinomial(draw.poisson(mean * columns) + 1,
                                      (1 - spread) * shares + spread * draw.dirichlet(np.full(columns, 3)))
                     for _ in range(rows)]
            yield np.array(table).tolist()


def main():
    tests = []
    for table in tables():
        counts = np.array(table)
        # Rows and columns without a count are left out, which SciPy would refuse.
        used = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
        result = chi2_contingency(used, correction=False)
        tests.append({"table": table, "statistic": result.statistic, "degrees_of_freedom": result.dof,
                      "p_value": result.pvalue})
    # The same with a row and a column that hold nothing.
    first = tests[4]
    tests.append({**first, "table": [[row[0], 0, *row[1:]] for row in first["table"]] + [[0, 0, 0, 0]]})
    golden = {"scipy": scipy.__version__, "tests": tests}
    path = pathlib.Path(__file__).parent / "chi_squared.json"
    lines = ",\n".join(json.dumps(test) for test in tests)
    path.write_text(f'{{"scipy": {json.dumps(golden["scipy"])}, "tests": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{path}: {len(tests)} tables")


if __name__ == "__main__":
    main()
