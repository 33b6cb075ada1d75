"""An extension of griffe for `ci/site`: docstrings whose entries are sentences.

In numpydoc, the words behind `name :` are a type. Our shorter docstrings have a description there,
since the signature has the type. Such entries are rewritten, so that the site shows the type of
the signature beside the description.
"""

import re

import griffe

HEADING = re.compile(r"^(Parameters|Returns|Raises)\n-+\n", flags=re.MULTILINE)
ENTRY = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*) : (.*)$")
LONGEST_TYPE = 45  # characters


def entries_of(section: str) -> list[tuple[str, list[str]]]:
    """The entries of a section: the first line, and the indented lines below it."""
    found: list[tuple[str, list[str]]] = []
    for line in section.rstrip().splitlines():
        if line[:1].strip() or not found:
            found.append((line, []))
        else:
            found[-1][1].append(line)
    return found


def is_type(words: str, below: list[str]) -> bool:
    """Whether the words behind `name :` are a type: short, and a new sentence stands below them."""
    if not below or len(words) > LONGEST_TYPE or re.search(r"[;:.]( |$)", words):
        return False
    start = below[0].strip()[:1]
    return not start.islower()


def with_descriptions(section: str) -> str:
    """Parameters, with descriptions where they belong."""
    lines = []
    for first, below in entries_of(section):
        entry = ENTRY.match(first)
        if entry is None or is_type(entry[2], below):
            lines += [first, *below]
        else:
            lines += [entry[1], f"    {entry[2]}", *below]
    return "\n".join(lines)


def as_one_entry(section: str, name: str) -> str:
    """A section of plain sentences as one entry with a name; other sections as they are."""
    lines = section.strip("\n").splitlines()
    if not lines or any(line.startswith(" ") for line in lines):
        return section.rstrip()
    return "\n".join([name, *(f"    {line}" for line in lines)])


def rewritten(text: str, returns: str) -> str:
    """A docstring that griffe's parser of numpydoc reads as it was meant."""
    parts = HEADING.split(text)
    out = [parts[0]]
    for title, rest in zip(parts[1::2], parts[2::2], strict=True):
        section, gap, others = rest.partition("\n\n")
        if title == "Parameters":
            section = with_descriptions(section)
        elif title == "Returns":
            section = as_one_entry(section, returns or "object")
        else:
            kinds = re.findall(r"\b\w*(?:Error|Exit)\b", section)
            section = as_one_entry(section, ", ".join(dict.fromkeys(kinds)) or "Exception")
        out.append(f"{title}\n{'-' * len(title)}\n{section}{gap}{others}")
    return "".join(out)


class Descriptions(griffe.Extension):
    """Rewrite the docstrings of functions and classes when they are loaded."""

    def on_function(self, *, func: griffe.Function, **_: object) -> None:
        if func.docstring:
            func.docstring.value = rewritten(func.docstring.value, str(func.returns or ""))

    def on_class(self, *, cls: griffe.Class, **_: object) -> None:
        if cls.docstring:
            cls.docstring.value = rewritten(cls.docstring.value, cls.name)
