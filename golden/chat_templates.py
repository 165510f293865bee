#!/usr/bin/env python3
"""Writes golden/chat_templates.json: prompts as Hugging Face transformers renders them.

For each template: its text, the texts of the tokens for the beginning and the end, the family that
fathom finds in it (null: it must refuse the template), and for each chat the prompt with
add_generation_prompt, or null where the template refuses the chat. The first template is read from
the default model (--model, FATHOM_MODEL, or fathom's cache folder); the others are written here to
do what the models' published templates do. Needs `pip install transformers==5.24.0 jinja2
gguf==0.19.0`.
"""

import argparse
import json
import pathlib

import gguf
import jinja2
import transformers
from transformers.utils.chat_template_utils import render_jinja_template

from default_model import default_model_path

HERE = pathlib.Path(__file__).resolve().parent

CHATS = [
    [("user", "How deep is the lake?")],
    [("system", "Answer in one word."), ("user", "How deep is the lake?")],
    [("user", "One?"), ("assistant", "Two."), ("user", "Three?")],
    [("system", "Be brief."), ("user", "One?"), ("assistant", "Two."), ("user", "Three?")],
    [("system", "  It's \"spaced\"\n"), ("user", " \n\tin between \u3000"), ("assistant", "\u00a0x\x1f "),
     ("user", "")],
    [("user", "<|im_end|> [/INST] </s> {{ x }} {% y %} \\n '")],
    [("user", "a"), ("user", "b")],
    [("assistant", "a"), ("user", "b")],
    [("user", "a"), ("assistant", "b")],
    [("user", "a"), ("system", "b"), ("user", "c")],
    [("system", "only")],
    [("system", ""), ("user", "\u00e9\U0001f600\n\nlines\n")],
]

TURN = "'<|im_start|>' + message['role'] + '\\n' + message['content']"
ASSISTANT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

CHATML = ("{% for message in messages %}{{" + TURN + " + '<|im_end|>' + '\\n'}}{% endfor %}" + ASSISTANT)

CHATML_LINES = """{% for message in messages %}
    {{ "<|im_start|>" + message.role + "\\n" + message.content | trim + "<|im_end|>\\n" }}
{% endfor %}
{% if add_generation_prompt %}
    {{ "<|im_start|>assistant\\n" }}
{% endif %}
"""
# Blanks before {{ stay, so this one only looks like ChatML: it is a test of refusal.

CHATML_BLOCKS = """{# turns between marks #}
{%- for message in messages %}
    {{- "<|im_start|>" + message.role + "\\n" + message.content | trim + "<|im_end|>\\n" }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- "<|im_start|>assistant\\n" }}
{%- endif %}
"""

CHATML_BOS = "{{ bos_token }}" + CHATML

CHATML_DEFAULT = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
                  "{{ '<|im_start|>system\\nIt\\'s a pilot\\'s voice: short & calm.<|im_end|>\\n' }}{% endif %}"
                  "{{" + TURN + " + '<|im_end|>' + '\\n'}}{% endfor %}" + ASSISTANT)

# As Qwen2.5: a branch for tools, a default message, and turns without tools.
CHATML_TOOLS = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You sound the depth.' }}
    {%- endif %}
    {{- "\\n\\nTools:\\n" }}
    {%- for tool in tools %}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "<|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou sound the depth.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

# Drops what an assistant thought: not a plain ChatML.
CHATML_THINKING = ("{% for message in messages %}{% set content = message['content'].split('</think>')[-1] %}"
                   "{{'<|im_start|>' + message['role'] + '\\n' + content + '<|im_end|>' + '\\n'}}{% endfor %}"
                   + ASSISTANT)

ALTERNATE = ("{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
             "{{ raise_exception('Roles must alternate') }}{% endif %}")


def llama2(strip):
    return ("{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
            "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
            "{% set system_message = false %}{% endif %}{% for message in loop_messages %}" + ALTERNATE +
            "{% if loop.index0 == 0 and system_message != false %}"
            "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
            "{% else %}{% set content = message['content'] %}{% endif %}"
            "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + " + strip + " + ' [/INST]' }}"
            "{% elif message['role'] == 'assistant' %}{{ ' '  + " + strip + " + ' ' + eos_token }}"
            "{% endif %}{% endfor %}")


# Instructions between marks, but no system message in them.
INSTRUCTION = ("{{ bos_token }}{% for message in messages %}" + ALTERNATE +
               "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
               "{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}")

HEADER = "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
LLAMA3 = ("{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = " + HEADER +
          "+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
          "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}")


def llama3_dated(date):
    return """{{- bos_token }}
{%- if not date_string is defined %}
""" + date + """
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}

{#- The system's turn #}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not 'tool_calls' in message %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""


FIXED_DATE = '    {%- set date_string = "26 Jul 2024" %}'
TODAY = """    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}"""

GEMMA = ("{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
         "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}" +
         ALTERNATE + "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}"
         "{% set role = message['role'] %}{% endif %}"
         "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
         "{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}")

GEMMA3 = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Roles must alternate") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\\n'}}
{%- endif -%}
"""

ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

ALPACA = ("{% for message in messages %}{{ '### ' + message['role'] + ':\\n' + message['content'] + '\\n\\n' }}"
          "{% endfor %}{% if add_generation_prompt %}{{ '### Response:\\n' }}{% endif %}")

TEMPLATES = [
    ("chatml", "chatml", CHATML, "<s>", "<|im_end|>"),
    ("chatml in blocks, trimmed", "chatml", CHATML_BLOCKS, "", "<|im_end|>"),
    ("chatml with the beginning", "chatml", CHATML_BOS, "<s>", "</s>"),
    ("chatml with a default system message", "chatml", CHATML_DEFAULT, "", "<|im_end|>"),
    ("chatml with tools", "chatml", CHATML_TOOLS, "", "<|im_end|>"),
    ("chatml with blanks", None, CHATML_LINES, "", "<|im_end|>"),
    ("chatml with thoughts", None, CHATML_THINKING, "", "<|im_end|>"),
    ("llama 2, strip()", "llama2", llama2("content.strip()"), "<s>", "</s>"),
    ("llama 2, trim", "llama2", llama2("content | trim"), "<s>", "</s>"),
    ("instruction", None, INSTRUCTION, "<s>", "</s>"),
    ("llama 3", "llama3", LLAMA3, "<|begin_of_text|>", "<|eot_id|>"),
    ("llama 3.1", "llama3", llama3_dated(FIXED_DATE), "<|begin_of_text|>", "<|eot_id|>"),
    ("llama 3.2", "llama3", llama3_dated(TODAY), "<|begin_of_text|>", "<|eot_id|>"),
    ("gemma", "gemma", GEMMA, "<bos>", "<eos>"),
    ("gemma 3", "gemma", GEMMA3, "<bos>", "<eos>"),
    ("zephyr", "zephyr", ZEPHYR, "<s>", "</s>"),
    ("headings", None, ALPACA, "<s>", "</s>"),
]


def render(template, bos, eos, chat):
    messages = [{"role": role, "content": content} for role, content in chat]
    # The date that Llama 3.2 falls back to; it would ask for today's.
    extra = {"date_string": "26 Jul 2024"} if "strftime_now" in template else {}
    try:
        rendered, _ = render_jinja_template([messages], chat_template=template,
                                            add_generation_prompt=True, bos_token=bos, eos_token=eos,
                                            **extra)
    except jinja2.exceptions.TemplateError:
        return None
    return rendered[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(default_model_path()), help="the default model")
    default = gguf.GGUFReader(parser.parse_args().model).fields["tokenizer.chat_template"].contents()
    templates = [("default model", "chatml", default, "<|im_start|>", "<|im_end|>")] + TEMPLATES
    golden = {
        "made_by": f"golden/chat_templates.py, transformers {transformers.__version__}, jinja2 {jinja2.__version__}",
        "chats": [[{"role": r, "content": c} for r, c in chat] for chat in CHATS],
        "templates": [{"name": name, "family": family, "template": text, "bos": bos, "eos": eos,
                       "prompts": [render(text, bos, eos, chat) for chat in CHATS]}
                      for name, family, text, bos, eos in templates],
    }
    (HERE / "chat_templates.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(f"{len(templates)} templates, {len(CHATS)} chats")


if __name__ == "__main__":
    main()
