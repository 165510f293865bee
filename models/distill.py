"""Makes the rows that a depth adapter is trained on, from prompts and the full model's own answers.

    python3 models/distill.py prompts dolly.jsonl     writes prompts.jsonl and held_out.jsonl, with people's answers
    python3 models/distill.py rows answers1.jsonl...  writes rows.jsonl from prompts.jsonl and what
                                                      `fathom generate --batch-file prompts.jsonl --out` answered
"""

import json
import sys

HELD_OUT = 200  # the last rows
LONGEST_PROMPT = 4000  # characters


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write(path, rows):
    with open(path, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def prompts(path):
    rows = [{"id": str(i), "prompt": row["instruction"] + ("\n\n" + row["context"] if row["context"] else ""), "response": row["response"]}
            for i, row in enumerate(read(path))]
    trained, held_out = ([row for row in part if len(row["prompt"]) <= LONGEST_PROMPT] for part in (rows[:-HELD_OUT], rows[-HELD_OUT:]))
    write("prompts.jsonl", trained)
    write("held_out.jsonl", held_out)


def rows(paths):
    prompt_of = {row["id"]: row["prompt"] for row in read("prompts.jsonl")}
    write("rows.jsonl", ({"id": f"{answer['id']}-{number}", "prompt": prompt_of[answer["id"]], "response": answer["text"]}
                         for number, path in enumerate(paths, 1) for answer in read(path) if answer["text"].strip()))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "prompts":
        prompts(sys.argv[2])
    elif len(sys.argv) >= 3 and sys.argv[1] == "rows":
        rows(sys.argv[2:])
    else:
        sys.exit(__doc__)
