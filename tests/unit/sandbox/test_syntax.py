"""Programs are read without being run."""

import pytest

from runtime.errors import Overloaded
from runtime.sandbox.syntax import MAX_LOST, syntax_problems

FINE = [
    "return 1",
    "1 / 0",
    "missing()\nwhile True:\n    pass",
    "import socket",
    "def f():\n    return f()\nf()",
    "open('/tmp/marker', 'w')",
    "# only a comment",
    "x = '''\nreturn\n'''",
]
WRONG = {
    "x = 1\nwhile": ("Expected an expression", 2, 6),
    "def f(:\n    pass": ("Expected a parameter or the end of the parameter list", 1, 7),
    "    return 1": ("Unexpected indentation", 1, 1),
    "\n\nyield 1": ("code steps do not support yield expressions", 3, 1),
    "del x": ("code steps do not support the 'del' statement", 1, 1),
    "class A(B):\n    pass": ("code steps do not support class inheritance and metaclasses", 1, 1),
    "x = 1\nawait f()": ("'await' outside function", 2, 1),
    "break": ("'break' outside loop", 1, 1),
    "[" * 5000: ("Source is too deeply nested", 1, 201),
    "print(1": ("unexpected EOF while parsing", 1, 8),
    "é = 1; é +": ("Expected an expression", 1, 11),
}


def test_what_can_be_read_is_not_run():
    assert syntax_problems(FINE) == [None] * len(FINE)


def test_each_problem_has_its_place_in_its_program():
    found = syntax_problems([*WRONG, "return 1"])
    assert [problem and (problem.detail, problem.line, problem.column) for problem in found] == [*WRONG.values(), None]


def test_a_program_cannot_get_in_front():
    for escape in ("'''\nstop = False\n'''\n1/0", "\\\n1/0", "else:\n    1/0", "; 1/0", "stop = False\n1/0"):
        [problem] = syntax_problems([escape])
        assert problem is None or "ZeroDivision" not in problem.detail


def test_workers_that_die_are_counted(monkeypatch):
    """Each program that kills its worker costs a new one; not more than a few."""
    monkeypatch.setattr("runtime.sandbox.syntax.SECONDS", 0.000001)
    monkeypatch.setattr("runtime.sandbox.syntax.GRACE_SECONDS", 0.0)
    found = syntax_problems(["x = 1\n" * 10_000] * (MAX_LOST + 2))
    assert len(found) == MAX_LOST + 2
    assert {problem.detail for problem in found if problem} == {"the program cannot be read within its limits of time and memory"}


def test_without_a_worker_nothing_is_said(monkeypatch):
    monkeypatch.setenv("MONTY_BIN", "/nonexistent")
    with pytest.raises(Overloaded):
        syntax_problems(["return 1"])
