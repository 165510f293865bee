"""From measurements to tables and a figure."""

import csv
import io
from statistics import median

from store import entrant_of, group_of
from work import Entrant

# Which contender of fathom's has the instructions of a variant of llama.cpp.
SAME_INSTRUCTIONS = {"llama.cpp-amx": "fathom", "llama.cpp-avx512": "fathom-avx512", "llama.cpp-avx2": "fathom-avx2"}
# What a peer makes of the file before it runs.
MADE_OF_IT = {"ctranslate2": "int8", "transformers": "float32"}
COLUMNS = ("threads", "workload", "contender", "type", "rounds", "median", "minimum", "maximum", "ratio",
           "ratio_minimum", "ratio_maximum", "same_instructions", "same_instructions_ratio",
           "same_instructions_minimum", "same_instructions_maximum", "read_bandwidth_share", "failure")
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"


def is_fathom(contender):
    return contender.split("-")[0] == "fathom"


def weights(row):
    made = MADE_OF_IT.get(row["contender"])
    return f"{made} (of {row['type']})" if made else row["type"]


def summarize(records, entrants, aliases):
    """One row for each (threads, workload, entrant), as a dict with the keys of COLUMNS.

    A ratio is fathom's speed / the entrant's: of the medians, and the extremes of the rounds' own ratios. It is
    with the same file; a contender that has one file only is compared on that. `aliases` says which contender
    stands for another that was left out for being the same.
    """
    speeds = {}  # (threads, workload) -> entrant -> round -> tokens/s
    shares, failures = {}, {}
    for record in records:
        group, entrant = group_of(record), entrant_of(record)
        key = group.threads, group.workload
        of_entrant = speeds.setdefault(key, {}).setdefault(entrant, {})
        if "failure" in record:
            failures[key, entrant] = record["failure"]
        else:
            of_entrant[group.round] = record["tokens_per_s"]
            if "read_bandwidth_share" in record:
                shares.setdefault((key, entrant), []).append(record["read_bandwidth_share"])
    rows = []
    for key, by_entrant in speeds.items():
        for entrant in entrants:
            mine = by_entrant.get(entrant)
            if mine is None:
                continue
            row = dict.fromkeys(COLUMNS)
            row.update(threads=key[0], workload=key[1], contender=entrant.contender, type=entrant.type,
                       rounds=len(mine), failure=failures.get((key, entrant)))
            if mine:
                row.update(zip(("median", "minimum", "maximum"), spread(mine.values())))
                row.update(zip(("ratio", "ratio_minimum", "ratio_maximum"),
                               _against(by_entrant, "fathom", entrant, mine)))
                same = SAME_INSTRUCTIONS.get(entrant.contender)
                same = aliases.get(same, same)
                if same and (found := _against(by_entrant, same, entrant, mine)):
                    row.update(zip(("same_instructions", "same_instructions_ratio", "same_instructions_minimum",
                                    "same_instructions_maximum"), (same, *found)))
            if (key, entrant) in shares:
                row["read_bandwidth_share"] = median(shares[key, entrant])
            rows.append(row)
    return rows


def _against(by_entrant, contender, entrant, mine):
    """Ratio of medians and extremes of the ratios in rounds that both have; nothing if there are none."""
    theirs = by_entrant.get(Entrant(contender, entrant.type), {})
    pairs = [theirs[round_] / speed for round_, speed in mine.items() if round_ in theirs]
    if not pairs or is_fathom(entrant.contender):
        return ()
    return median(theirs.values()) / median(mine.values()), min(pairs), max(pairs)


def spread(values):
    values = list(values)
    return median(values), min(values), max(values)


def bests(rows, reference_type):
    """For each (threads, workload): llama.cpp's fastest entrant of all files, and fathom on the reference file / it."""
    found = []
    for key in dict.fromkeys((row["threads"], row["workload"]) for row in rows):
        of_key = [row for row in rows if (row["threads"], row["workload"]) == key and row["median"]]
        ours = [row for row in of_key if row["contender"] == "fathom" and row["type"] == reference_type]
        theirs = [row for row in of_key if row["contender"].startswith("llama.cpp")]
        if ours and theirs:
            best = max(theirs, key=lambda row: row["median"])
            found.append({"threads": key[0], "workload": key[1], "contender": best["contender"], "type": best["type"],
                          "ratio": ours[0]["median"] / best["median"]})
    return found


def csv_text(rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def markdown(rows, best, run, machine):
    """The tables, with what they were measured on."""
    lines = [f"{machine['cpu']}, {machine['cores']} cores ({', '.join(machine['instruction_sets'])}); "
             f"read bandwidth {_bandwidths(run)}; {run['model']}; {run['rounds']} round{'s' if run['rounds'] > 1 else ''}, interleaved.",
             "Versions: " + ", ".join(f"{name} {version}" for name, version in run["versions"].items()) + "."]
    for threads in dict.fromkeys(row["threads"] for row in rows):
        of_threads = [row for row in rows if row["threads"] == threads]
        plural = "s" if threads > 1 else ""
        lines += ["", f"Tokens a second with {threads} thread{plural}: median (range)", ""]
        lines += _wide(of_threads, lambda row: _range(row, "median", "minimum", "maximum", _digits))
        lines += ["", "fathom's speed / theirs on the same file: of the medians (range over the rounds)", ""]
        peers = [row for row in of_threads if not is_fathom(row["contender"])]
        lines += _wide(peers, lambda row: _range(row, "ratio", "ratio_minimum", "ratio_maximum", _ratio))
        narrower = [row for row in peers if row["same_instructions"] not in (None, "fathom")]
        if narrower:
            lines += ["", "The same with fathom held to the same instruction set:", ""]
            lines += _wide(narrower, lambda row: _range(row, "same_instructions_ratio", "same_instructions_minimum",
                                                        "same_instructions_maximum", _ratio))
        lines += [""] + [f"{each['workload']}: llama.cpp's best is {each['contender']} on {each['type']}; fathom on "
                         f"{run['reference_type']} / it: {_ratio(each['ratio'])}  "
                         for each in best if each["threads"] == threads]
        shares = [row for row in of_threads if row["contender"] == "fathom" and row["read_bandwidth_share"]]
        lines += [f"{row['workload']}: fathom on {row['type']} reads at {row['read_bandwidth_share']:.0%} of the read "
                  "bandwidth  " for row in shares]
    failed = dict.fromkeys(f"{row['contender']} {row['type']}, {row['workload']}: {row['failure']}"
                           for row in rows if row["failure"])
    left_out = [f"{name}: {why}" for name, why in run["left_out"].items()]
    if left_out or failed:
        lines += ["", "Left out or failed:", "", *(f"- {each}" for each in (*left_out, *failed))]
    return "\n".join(lines) + "\n"


def _wide(rows, cell):
    """A table with a line for each entrant and a column for each workload."""
    workloads = list(dict.fromkeys(row["workload"] for row in rows))
    table = [["", "weights", *workloads]]
    for entrant in dict.fromkeys(entrant_of(row) for row in rows):
        of_entrant = [row for row in rows if entrant_of(row) == entrant]
        cells = {row["workload"]: cell(row) for row in of_entrant}
        table.append([entrant.contender, weights(of_entrant[0]), *(cells.get(name, "") for name in workloads)])
    return [line(table[0]), line(["---"] * len(table[0])), *map(line, table[1:])]


def line(cells):
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _range(row, middle, low, high, form):
    if row[middle] is None:
        return "failed" if row["failure"] else ""
    return f"{form(row[middle])} ({form(row[low])}–{form(row[high])})"


def _digits(speed):
    return f"{speed:.0f}" if speed >= 100 else f"{speed:.1f}"


def _ratio(ratio):
    return f"{ratio:.2f}"


def _bandwidths(run):
    return ", ".join(f"{bandwidth:.1f} GB/s with {threads} thread{'s' if int(threads) > 1 else ''}"
                     for threads, bandwidth in run["read_bandwidth_gb_per_s"].items())


def read_bandwidths(records):
    """threads -> the median of what fathom measured, in GB/s."""
    found = {}
    for record in records:
        if "read_bandwidth_gb_per_s" in record:
            found.setdefault(str(record["threads"]), []).append(record["read_bandwidth_gb_per_s"])
    return {threads: median(values) for threads, values in found.items()}


def figure(rows, workloads):
    """A Vega-Lite specification: each entrant's median and range, a panel for each workload and number of threads."""
    values = [{"threads": f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}", "workload": row["workload"],
               "contender": f"{row['contender']} {weights(row)}",
               "engine": "llama.cpp" if row["contender"].startswith("llama.cpp") else row["contender"].split("-")[0],
               "median": round(row["median"], 2), "minimum": round(row["minimum"], 2),
               "maximum": round(row["maximum"], 2)} for row in rows if row["median"]]
    names = list(dict.fromkeys(value["contender"] for value in values))
    y = {"field": "contender", "type": "nominal", "sort": names, "title": None}
    speed = {"type": "quantitative", "scale": {"type": "log"}, "title": "tokens/s",
             "axis": {"tickCount": 3, "labelOverlap": "greedy"}}
    color = {"field": "engine", "type": "nominal", "title": None}
    return {
        "$schema": SCHEMA,
        "description": "Speed of fathom and of its peers on the same model: medians and ranges",
        "data": {"values": values},
        "facet": {"column": {"field": "workload", "type": "nominal", "sort": list(workloads), "title": None},
                  "row": {"field": "threads", "type": "nominal", "sort": "descending", "title": None}},
        "spec": {
            "width": 130, "height": {"step": 16},
            "layer": [
                {"mark": {"type": "rule", "strokeWidth": 2},
                 "encoding": {"y": y, "x": {"field": "minimum", **speed}, "x2": {"field": "maximum"}, "color": color}},
                {"mark": {"type": "point", "filled": True, "size": 50, "tooltip": {"content": "data"}},
                 "encoding": {"y": y, "x": {"field": "median", **speed}, "color": color}},
            ],
        },
        "resolve": {"scale": {"x": "independent"}},
    }
