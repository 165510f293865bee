"""The prompts and answers of engine.py. Written for fathom; edit them and engine.json must be made anew."""

from typing import NamedTuple


class Prompt(NamedTuple):
    """One prompt; chat says whether it goes into the chat template as the user's message."""

    name: str
    chat: bool
    text: str
    response: str


LONG_TEXT = """The lighthouse at the end of the long stone pier had been dark for eleven years when Marta came to look at it.
She was a surveyor, and the harbour office had asked her for two numbers: how far the tower leaned, and how long it
would stand. She set up her instrument on the breakwater, waited until the wind dropped, and began to measure. At ten
metres above the gallery the wall was four centimetres out of true. At twenty it was nine. At the lamp room, where the
gulls had built a wide and untidy nest, it was fourteen, and a crack ran down the northern side like a river on a map.

In the evening she sat in the only cafe that was open and wrote her report on the back of a menu. The keeper's
daughter, who was seventy and had been born in the second room above the stairs, brought her soup and asked whether
they would pull the old tower down. Marta said that it depended on the ground. If the pier rested on rock, the leaning
had stopped long ago, and a few steel bands and some mortar would hold it for another century. If it rested on sand,
nothing would. The old woman laughed. Her father, she said, had known the answer: every spring he had lowered a lead
weight on a line beside the foot of the tower, and every spring he had written the depth into a blue notebook that was
still lying in her kitchen drawer, forty-one years of it, in pencil.

They went to fetch it together. The first entry was six fathoms and one foot. The last entry was"""

PROMPTS: list[Prompt] = [
    Prompt("hi", False, "Hi", ", my name is Tom and I am new here."),
    Prompt("plain-sea", False, "The sea is salty because", " rivers carry dissolved minerals from rocks into it, and the water evaporates while the salt stays."),
    Prompt("code-python", False, 'def fibonacci(n: int) -> int:\n    """Return the n-th Fibonacci number."""\n', "    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n"),
    Prompt("code-c", False, "#include <stdio.h>\n\nint main(void) {\n\tfor (int i = 0; i < 10; i++) {\n", '\t\tprintf("%d\\n", i * i);\n\t}\n\treturn 0;\n}\n'),
    Prompt("digits", False, "2, 4, 8, 16, 32, 64, 128, 256,", " 512, 1024, 2048, 4096, 8192"),
    Prompt("french", False, "La bibliothèque du quartier ouvre à neuf heures et ferme", " à dix-huit heures, sauf le dimanche où elle reste fermée."),
    Prompt("cyrillic-cjk", False, "Москва — столица России. 東京は日本の首都です。 Berlin ist", " die Hauptstadt von Deutschland."),
    Prompt("json", False, '{"name": "Ada", "born": 1815, "fields": ["mathematics",', ' "computing"], "city": "London"}'),
    Prompt("long-story", False, LONG_TEXT, " six fathoms and one foot. The pier stood on rock, and the tower could stay."),
    Prompt("spaces", False, "Item      Price   Qty\n-----------------------\nApples     1.20     3\nPears  ", "    0.95     7\nPlums      2.10     4\n"),
    Prompt("chat-hi", True, "Hi", "Hello! How can I help you today?"),
    Prompt("chat-capital", True, "What is the capital of Portugal, and what is it known for?", "The capital of Portugal is Lisbon. It is known for its hills, its trams and its place on the river Tagus."),
    Prompt("chat-sum", True, "A shop sells 17 apples in the morning and 28 in the afternoon. How many is that in all?", "The shop sells 17 + 28 = 45 apples in all."),
    Prompt("chat-code", True, "Write a Python function that reverses the words of a sentence.", "def reverse_words(sentence):\n    return ' '.join(reversed(sentence.split()))"),
    Prompt("chat-rewrite", True, "Rewrite this politely: \"Send me the file now.\"", "Could you please send me the file when you have a moment?"),
    Prompt("chat-german", True, "Übersetze ins Englische: \"Der Zug kommt heute leider später an.\"", "Unfortunately, the train is arriving later today."),
    Prompt("chat-list", True, "List three things to check before a long bicycle tour.", "1. The brakes and the tyres.\n2. The chain and the gears.\n3. A repair kit, a pump and enough water."),
    Prompt("chat-why", True, "Why is the sky blue? Answer in one sentence for a child.", "Sunlight is made of many colours, and the air scatters the blue light the most, so we see blue everywhere above us."),
    Prompt("chat-emoji", True, "What does 🌊🏄‍♀️ mean in a message?", "It probably means that someone is surfing or having a good time at the sea."),
    Prompt("chat-summary", True, "Summarise in one sentence: The council met on Tuesday to discuss the old bridge. Engineers said that repairs would cost 2.4 million and take eighteen months, while a new bridge would cost 5.1 million and take three years. After four hours the council chose to repair it, by seven votes to five.", "The council voted seven to five to repair the old bridge for 2.4 million over eighteen months instead of building a new one."),
]
