"""Input made to exhaust or to escape: each is refused, fast and cheaply, and nothing of it is ever executed."""

import subprocess
import sys

import pytest

from runtime.definition.templates import compile_text
from runtime.errors import AgenticError

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True))

DOCUMENTS = {
    "billion laughs": LAUGHS,
    "100,000 brackets": "[" * 100_000,
    "100,000 braces of YAML": "{a: " * 100_000,
    "100,000 objects of JSON": '{"a":' * 100_000,
    "100,000 dashes": "- " * 100_000,
    "deep indentation": "".join(" " * i + "a:\n" for i in range(1000)),
    "a megabyte of one key": "a" * (2**20 - 10) + ": 1",
    "many keys": "\n".join(f"k{i}: 1" for i in range(100_000)),
    "many problems": "name: a\nsteps:\n" + "".join(f"  s{i}: {{agnt: 1}}\n" for i in range(1000)),
    "long keys, deep": "".join(" " * i + "k" * 900 + ":\n" for i in range(60)) + " " * 60 + "[" + "1," * 50_000 + "1]",
    "a large schema": "name: a\ninputs: {x: {enum: [" + "1," * 200_000 + "1]}}\nsteps: {x: {wait: {for: 1s}}}",
    "nul bytes": "\0" * 1000,
    "a tag": "name: !!python/object/apply:os.system ['touch /tmp/x']",
}


PROBE = """
import resource, sys, time
from runtime.definition.expressions import compile_expression
from runtime.definition.validation import parse
from runtime.errors import AgenticError, DefinitionInvalid
compile_expression("inputs.x + 1").evaluate({"inputs.x": 1})
text = sys.stdin.read()
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
count = 0
try:
    parse(text) if sys.argv[1] == "document" else compile_expression(text).evaluate({})
except DefinitionInvalid as error:
    count = len(error.problems)
except AgenticError:
    count = 1
print(time.process_time() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, count)
"""


def probe(kind: str, text: str) -> tuple[float, float, int]:
    """CPU seconds, MiB and problems of reading `text`, in a process of its own: only there does peak memory mean anything."""
    done = subprocess.run([sys.executable, "-c", PROBE, kind], input=text, capture_output=True, text=True, check=True, timeout=50)
    seconds, megabytes, count = done.stdout.split()
    return float(seconds), float(megabytes), int(count)


@pytest.mark.parametrize("case", DOCUMENTS)
def test_documents_are_refused_fast_and_cheaply(case):
    seconds, megabytes, count = probe("document", DOCUMENTS[case])
    assert 1 <= count <= 200
    assert seconds < 3
    assert megabytes < 128


INJECTIONS = [
    "{{ 7*7 }}",
    "${{ ''.__class__.__mro__[1].__subclasses__() }}",
    "${{ inputs.__class__ }}",
    "${{ __import__('os').system('id') }}",
    "${{ exec('1') }}",
    "${{ open('/etc/passwd') }}",
    "${{ constructor.constructor('return process')() }}",
    "${{ lambda: 0 }}",
    "${{ [x for x in ()] }}",
    "${{ inputs.x.format('%s') }}",
    "${{ env.SECRET_KEY }}",
    "${{ secrets.key }}",
    "${{ `id` }}",
    "${{ $(id) }}",
    "${{ {{7*7}} }}",
    "${{ '%n'.format([1]) }}",
    "<%= 7*7 %>",
    "#{7*7}",
    "{% for x in range(1000000000) %}{% endfor %}",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_injections_stay_text_or_are_refused(text):
    try:
        rendered = compile_text(text).render({"inputs.x": "v", "inputs": {"x": "v"}, "inputs.__class__": "only a name"})
    except AgenticError:
        return
    assert rendered in (text, "only a name")


BOMBS = {
    "a loop of 10^9": "[0,1,2,3,4,5,6,7,8,9]" + ".exists(x, [0,1,2,3,4,5,6,7,8,9]" * 8 + ".exists(y, y > 10" + ")" * 9,
    "400 kB": "1 + " * 100_000 + "1",
    "nested 10,000 deep": "(" * 4000 + "1" + ")" * 4000,
    "text doubled": "['aaaaaaaaaaaaaaaa']" + ".map(v, v + v)" * 10,
    "text doubled by replace": "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'" + ".replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')" * 6,
    "lists compared": "[1].map(v, [v,v,v,v,v,v,v,v])" + ".map(v, [v,v,v,v,v,v,v,v])" * 8 + " == []",
    "a regular expression": "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab'.matches('^(a+)+$')",
    "a big number": "'9'.replace('9', '9999999999999999999999999999999')" + ".replace('9', '999999999999999999999999')" * 4,
}


@pytest.mark.parametrize("case", BOMBS)
def test_bombs_take_neither_time_nor_memory(case):
    seconds, megabytes, _count = probe("expression", BOMBS[case])
    assert seconds < 0.5
    assert megabytes < 32
