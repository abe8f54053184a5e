"""Text as a terminal can show it: no control codes from names, no character that its encoding lacks."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

MAX_NAME = 120
# Line feed, return and tab are ours; other control codes come from names and would steer the terminal.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\r\t"}


def printable(text: str, encoding: str | None) -> str:
    """The text with control codes spelled out, and "?" for what the encoding cannot say."""
    codec = encoding or "utf-8"
    return text.translate(_CONTROLS).encode(codec, "replace").decode(codec)


def shortened(name: str) -> str:
    """A name for a message: of a very long one the beginning and the end."""
    half = MAX_NAME // 2
    return name if len(name) <= MAX_NAME else f"{name[:half]}...{name[-half:]}"


class _PrintableStream:
    """A text stream that writes only what can be shown."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(printable(text, self._stream.encoding))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def printable_output() -> Iterator[None]:
    """Within, what is printed to stdout is shown as far as it can be, whatever names hold."""
    with contextlib.redirect_stdout(_PrintableStream(sys.stdout)):  # type: ignore[type-var]
        yield


class _PlainMessages(logging.Handler):
    """What our modules log, as plain lines: information on stdout, warnings and errors on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
            print(printable(record.getMessage(), stream.encoding), file=stream, flush=True)
        except BrokenPipeError:
            raise
        except Exception:
            self.handleError(record)


@contextlib.contextmanager
def shown_messages() -> Iterator[None]:
    """Within, the user of a command sees what the modules of `vla_sim` log."""
    logger, handler = logging.getLogger("vla_sim"), _PlainMessages()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
