"""Results of tests as JUnit XML, which every CI system shows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from runtime.simulation.testing.runner import Result


def write_junit(path: Path, results: Sequence[Result], broken: Mapping[Path, Sequence[str]]) -> None:
    """Write the results, and one error for each file that could not be read."""
    root = Element("testsuites")
    suites = {result.file.path: [other for other in results if other.file.path == result.file.path] for result in results}
    for file, group in suites.items():
        failures = sum(not result.passed for result in group)
        suite = _suite(root, file, tests=len(group), failures=failures, errors=0, seconds=sum(result.seconds for result in group))
        for result in group:
            case = SubElement(suite, "testcase", classname=str(file), name=result.case.name, time=f"{result.seconds:.3f}")
            if not result.passed:
                SubElement(case, "failure", message=_xml(result.failures[0].message)).text = _xml("\n".join(result.told()))
    for file, lines in broken.items():
        suite = _suite(root, file, tests=1, failures=0, errors=1, seconds=0.0)
        case = SubElement(suite, "testcase", classname=str(file), name="the file")
        SubElement(case, "error", message=_xml(lines[0])).text = _xml("\n".join(lines))
    indent(root)
    ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _suite(root: Element, file: Path, *, tests: int, failures: int, errors: int, seconds: float) -> Element:
    counts = {"tests": str(tests), "failures": str(failures), "errors": str(errors)}
    return SubElement(root, "testsuite", {"name": str(file), **counts, "time": f"{seconds:.3f}"})


def _xml(text: str) -> str:
    """Without the characters XML cannot hold."""
    return "".join(char if char in "\t\n" or " " <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd" or char > "\uffff" else "\ufffd" for char in text)
