"""What may stand in the outputs of a committed notebook.

`clean` removes what differs between two equal runs; `complaints` names what must not be there.
"""

import base64
import io
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from notebooks import TOP, as_text, code_cells

LARGEST = 300_000  # bytes of a notebook
LARGE_PICTURE = 50_000  # bytes from which a picture gets a palette

PROGRESS_BAR = re.compile(r"\d+%\|.*\||\d+it \[\d")
# Said by TensorFlow's C++ libraries when they start, before any setting of ours is read.
START_OF_TENSORFLOW = re.compile(
    r"WARNING: All log messages before absl::InitializeLog\(\) is called"
    r"|[IWEF]\d{4} \d\d:\d\d:\d+\.\d+ +\d+ \S+\.cc:\d+\]"
    r"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] (tensorflow|external)/"
    r"|To enable the following instructions: "
)
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{6,}")
ANSI = re.compile(r"\x1b\[[0-9;]*m")
TEMPORARY_NAME = r"tmp[a-z0-9_]{8}"  # as Python's tempfile makes them

FAULTS = {
    "a warning": re.compile(r"\b[A-Z]\w*Warning\b:?.*"),
    "an absolute path": re.compile(
        r"(?<![\w.:/<>~-])/(?:[\w.+-]+/)+[\w.+-]*"
        r"|(?<![\w.:/<>~-])/(?:tmp|home|root|work|Users|mnt|private|var|opt)\b"
        r"|\b[A-Z]:\\\w+|\bfile://\S+|\bsite-packages/\S{,60}"
    ),
    "an address in memory": re.compile(r"\b0x[0-9a-f]{9,}"),
}
TIMES = {
    "an elapsed time": re.compile(
        r"(?<![\w.])\d+(?:\.\d+)? ?(?:s|sec|secs|seconds?|ms|µs|min|minutes?)\b(?![\w(-])"
        r"|\b\d+(?:\.\d+)?(?:it|steps?)/s\b"
    ),
    "a time of day": re.compile(r"\b\d\d:\d\d:\d\d\b|\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d"),
}


# --- cleaning


def clean(nb: dict, scratch: Path) -> None:
    """Remove what differs between two equal runs, in place.

    Parameters
    ----------
    nb
        An executed notebook.
    scratch
        The folder that was the kernel's `TMPDIR`; its path is taken out of texts.
    """
    for cell in nb["cells"]:
        cell["metadata"].pop("execution", None)
        if cell["cell_type"] == "code":
            cell["execution_count"] = None
            cell["outputs"] = [
                _clean_output(output, scratch) for output in _kept(cell.get("outputs", []))
            ]


def _kept(outputs: list[dict]) -> list[dict]:
    """Outputs without widgets and progress bars; neighbouring pieces of a stream are joined."""
    kept: list[dict] = []
    for output in outputs:
        if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
            continue
        if output["output_type"] == "stream":
            output["text"] = "".join(output["text"])
            if kept and kept[-1].get("name") == output["name"]:
                kept[-1]["text"] += output["text"]
                continue
        kept.append(output)
    for output in kept:
        if output["output_type"] == "stream":
            output["text"] = _visible(output["text"], output["name"])
    return [output for output in kept if output.get("text") != ""]


def _visible(text: str, stream: str) -> str:
    """What a terminal would still show; stderr without progress bars and TensorFlow's start."""
    lines = text.splitlines(keepends=True) if "\r" not in text else text.split("\n")
    if "\r" in text:
        lines = [line.rstrip("\r").rsplit("\r", 1)[-1] + "\n" for line in lines]
        lines[-1] = lines[-1].rstrip("\n")
    if stream == "stderr":
        lines = [line for line in lines if not _is_noise(line)]
    text = "".join(lines)
    return text if text.strip() else ""


def _is_noise(line: str) -> bool:
    return bool(PROGRESS_BAR.search(line) or START_OF_TENSORFLOW.match(line))


def _clean_output(output: dict, scratch: Path) -> dict:
    if "execution_count" in output:
        output["execution_count"] = None
    if output["output_type"] == "stream":
        output["text"] = _clean_text(output["text"], scratch).splitlines(keepends=True)
    for kind, value in output.get("data", {}).items():
        if kind == "image/png":
            output["data"][kind] = _clean_png(value)
        elif kind.startswith("text/") or kind == "image/svg+xml":
            text = _clean_text("".join(value), scratch)
            output["data"][kind] = text.splitlines(keepends=True)
        elif isinstance(value, str):
            output["data"][kind] = value.rstrip()
    return output


def _clean_text(text: str, scratch: Path) -> str:
    for folder in {str(scratch), str(scratch.resolve())}:
        text = re.sub(rf"{re.escape(folder)}/{TEMPORARY_NAME}/", "", text)
        text = re.sub(rf"{re.escape(folder)}(/{TEMPORARY_NAME})?\b", "a temporary folder", text)
    text = text.replace(f"{TOP}/", "").replace(f"{Path.home()}/", "~/")
    return ADDRESS.sub("", ANSI.sub("", text))


def _with_palette(data: bytes) -> bytes:
    """A large picture with 128 colours, which takes a third of the bytes."""
    from PIL import Image

    if len(data) < LARGE_PICTURE:
        return data
    picture, out = Image.open(io.BytesIO(data)).convert("RGB"), io.BytesIO()
    picture.quantize(128, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return min(data, out.getvalue(), key=len)


def _clean_png(value: str) -> str:
    """The picture without texts and times; base64 on one line."""
    data = _with_palette(base64.b64decode("".join(value)))
    kept, at = [data[:8]], 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] not in (b"tEXt", b"zTXt", b"iTXt", b"tIME"):
            kept.append(data[at : at + 12 + length])
        at += 12 + length
    return base64.b64encode(b"".join(kept)).decode()


# --- checking


def complaints(nb: dict, times_allowed: bool = False) -> Iterator[str]:
    """One line for each output that may not be committed: the cell, what is wrong, the text."""
    for number, cell in code_cells(nb):
        for output in cell.get("outputs", []):
            for fault in _faults(output, times_allowed):
                yield f"cell {number}: {fault}"
    size = len(as_text(nb).encode())
    if size > LARGEST:
        parts = sorted(
            ((len(str(cell.get("outputs"))), i) for i, cell in code_cells(nb)), reverse=True
        )
        largest = ", ".join(f"cell {i}: {n / 1000:.0f} KB" for n, i in parts[:3])
        yield f"{size / 1000:.0f} KB, more than {LARGEST / 1000:.0f}; most in {largest}"


def _faults(output: dict, times_allowed: bool) -> Iterator[str]:
    if output["output_type"] == "error":
        yield f"{output['ename']}: {output['evalue'][:200]}"
        return
    if output["output_type"] == "stream" and output["name"] == "stderr":
        yield f"text on stderr: {''.join(output['text']).strip()[:300]!r}"
        return
    patterns = FAULTS if times_allowed else FAULTS | TIMES
    for text in _texts(output):
        for what, pattern in patterns.items():
            if found := pattern.search(text):
                around = text[max(0, found.start() - 30) : found.end() + 30]
                yield f"{what}, {found[0][:80].strip()!r}, in {around!r}"


def _texts(output: dict) -> Iterator[str]:
    """The words of an output, without code and pictures inside HTML."""
    if output["output_type"] == "stream":
        yield "".join(output["text"])
    for kind, value in output.get("data", {}).items():
        text = "".join(value) if kind.startswith("text/") else ""
        if kind == "text/html":
            text = re.sub(r"<(style|script|svg)\b.*?</\1>", "", text, flags=re.DOTALL)
            text = re.sub(r"data:[^\"')]*", "", text)
            text = re.sub(r"<[^>]*>", "  ", text)
        if text:
            yield text
