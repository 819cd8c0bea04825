"""What `coscribe up` shows: one line a part while it starts, then events. Plain lines where there is no terminal."""

import contextlib
import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text


class Terminal(Console):
    def on_broken_pipe(self) -> None:
        """Nobody reads any more: be quiet, and go on. Rich would end the process, and with it every part."""
        self.quiet = True


class Display:
    """Parts by name; each is waiting or ready. Used as a context while parts start."""

    def __init__(self, console: Console, parts: Sequence[str]) -> None:
        self._console = console
        self._began = time.monotonic()
        self._ready: dict[str, tuple[float, str]] = {}
        self._parts = list(parts)
        self._live: Live | None = None

    def __enter__(self) -> "Display":
        if self._console.is_terminal:
            self._live = Live(self._table(), console=self._console, refresh_per_second=8, transient=False)
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.settle()

    def settle(self) -> None:
        """Everything has started, or will not: leave the lines as they are."""
        if self._live:
            self._live.update(self._table(), refresh=True)
            self._live.stop()
            self._live = None

    def ready(self, part: str, words: str) -> None:
        if part in self._ready:
            self.say(f"{part} is ready again.")
            return
        seconds = time.monotonic() - self._began
        self._ready[part] = (seconds, words)
        if self._live:
            self._live.update(self._table(), refresh=True)
        else:
            self._print(Text(f"{part} ready after {seconds:.1f} s: {words}"))

    def say(self, message: str) -> None:
        """An event, with its time."""
        clock = time.strftime("%H:%M:%S")
        self._print(Text(f"{clock}  {message}"))

    def _print(self, line: Text) -> None:
        with contextlib.suppress(OSError):  # a terminal that was closed
            self._console.print(line, soft_wrap=not self._console.is_terminal)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for part in self._parts:
            if part in self._ready:
                seconds, words = self._ready[part]
                table.add_row(
                    Text("✓", style="green"), part, Text(f"{seconds:.1f} s", style="dim"), Text(words, style="dim")
                )
            else:
                table.add_row(Spinner("dots") if self._live else "–", part, "", Text("starts", style="dim"))
        return table
