"""A deterministic asyncio event loop: time is virtual, and what belongs to one process can stand still or die together.

Ready callbacks run in the order in which they became ready. When none is, time jumps to the next timer. There is no
wall clock, no thread and no socket, so a run is a function of its seed.
"""

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")

STEPS_AT_ONCE = 20_000  # callbacks without time going on: something runs in a circle
STEPS_MOST = 120_000  # many times what a run takes: the circle is wider, but it is one


class Stuck(BaseException):
    """The run cannot go on: nothing will ever happen again, or everything happens at one instant."""


class SimTask(asyncio.Task[Any]):
    """Tasks are kept in sets, by asyncio too: their order there must not depend on where they lie in memory."""

    _numbers = count(1)

    def __new__(cls, *_: Any, **__: Any) -> "SimTask":
        task = super().__new__(cls)
        task.number = next(cls._numbers)
        return task

    number: int

    def __hash__(self) -> int:
        return self.number


class Process:
    """A process of the simulated cluster. It owns the tasks and timers that are started in its context."""

    def __init__(self, loop: "SimLoop", name: str) -> None:
        self.loop, self.name = loop, name
        self.alive = True
        self.paused = False
        self.fuse: tuple[int, Callable[[], None]] | None = None  # after so many steps it is called, between two awaits
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.context = contextvars.copy_context()
        self.context.run(_PROCESS.set, self)
        self._backlog: deque[asyncio.Handle] = deque()

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        return self.loop.create_task(work, context=self.context)

    def pause(self) -> None:
        """Like SIGSTOP: nothing of it runs until `go_on`."""
        self.paused = True

    def go_on(self) -> None:
        if self.paused:
            self.paused = False
            self.loop.take_up(self._backlog)

    def put_off(self, handle: asyncio.Handle) -> None:
        self._backlog.append(handle)

    def kill(self) -> None:
        """Like SIGKILL: its state is forgotten. Ports know by `alive` that what its code still says reaches nobody."""
        self.alive = False
        self.go_on()
        for task in list(self.tasks):
            task.cancel()


_PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


def current_process() -> Process | None:
    return _PROCESS.get()


class SimLoop(asyncio.BaseEventLoop):
    """`failed` is told of every exception that nobody took."""

    def __init__(self, failed: Callable[[str, BaseException | None], None]) -> None:
        super().__init__()
        SimTask._numbers = count(1)
        self.steps = 0
        self.outside = contextvars.Context()  # of what no process does: the network, the stores, the weather
        self._now = 0.0
        self._steps_now = 0
        self._failed = failed
        self._every_task: list[tuple[asyncio.Task[Any], Process | None]] = []
        self._ending = False
        self.set_task_factory(self._new_task)  # type: ignore[arg-type]

    def time(self) -> float:
        return self._now

    def at(self, when: float, callback: Callable[..., object], *arguments: Any) -> asyncio.TimerHandle:
        """Call at a time, as no process."""
        return self.call_at(when, callback, *arguments, context=self.outside)

    def after(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> asyncio.TimerHandle:
        return self.call_at(self._now + seconds, callback, *arguments, context=self.outside)

    def take_up(self, handles: deque[asyncio.Handle]) -> None:
        self._ready.extend(handles)  # type: ignore[attr-defined]
        handles.clear()

    def _new_task(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], context: Any = None, **given: Any
    ) -> asyncio.Task[Any]:
        task = SimTask(work, loop=loop, context=context, **given)
        process = context.get(_PROCESS) if context is not None else _PROCESS.get()
        if process is not None:
            process.tasks[task] = None
            task.add_done_callback(process.tasks.pop, context=self.outside)
            if not process.alive:
                task.cancel()
        self._every_task.append((task, process))
        return task

    def _run_once(self) -> None:
        ready: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        while scheduled and scheduled[0].cancelled():
            heapq.heappop(scheduled)._scheduled = False  # type: ignore[attr-defined]
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            if not scheduled:
                raise Stuck("nothing is due, ever")
            if scheduled[0].when() > self._now:
                self._now, self._steps_now = scheduled[0].when(), 0
        while scheduled and scheduled[0].when() <= self._now:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False  # type: ignore[attr-defined]
            ready.append(handle)
        for _ in range(len(ready)):
            self._run_handle(ready.popleft())

    def _run_handle(self, handle: asyncio.Handle) -> None:
        if handle.cancelled():
            return
        process = handle._context.get(_PROCESS)  # type: ignore[attr-defined]
        if process is not None and process.paused and not self._ending:
            process.put_off(handle)
            return
        self.steps += 1
        self._steps_now += 1
        if self._steps_now > STEPS_AT_ONCE or (self.steps > STEPS_MOST and not self._ending):
            self._ready.appendleft(handle)  # type: ignore[attr-defined]
            what = "time stands still" if self._steps_now > STEPS_AT_ONCE else "it goes on and on"
            raise Stuck(f"{what}; the next would be {_task_of(handle)}")
        if process is not None and process.fuse is not None:
            self._burn(process)
        handle._run()

    def _burn(self, process: Process) -> None:
        """Burn the fuse by one step. A process that dies at its end has been cancelled before it takes this step."""
        assert process.fuse is not None
        left, blow = process.fuse
        process.fuse = (left - 1, blow) if left else None
        if left == 0:
            self.outside.run(blow)

    # --- What asyncio asks of a loop ---

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self._failed(str(context.get("message")), context.get("exception"))

    def run_in_executor(self, *_: Any) -> Any:  # type: ignore[override]
        raise AssertionError("no threads in a simulation")

    def _process_events(self, event_list: object) -> None: ...

    def _write_to_self(self) -> None: ...

    def play(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the work to its end, then end whatever is left, and report what it raised."""
        try:
            return self.run_until_complete(self.create_task(work, context=self.outside))
        finally:
            self._end_all()
            self.close()

    def _end_all(self) -> None:
        self._ending, self._steps_now = True, 0
        left = [(task, process) for task, process in self._every_task if not task.done()]
        for task, process in left:
            if process is not None:
                process.go_on()
            task.cancel()
        if left:
            self.run_until_complete(asyncio.gather(*(task for task, _ in left), return_exceptions=True))
        for task, process in self._every_task:
            if not task.cancelled() and task._log_traceback:
                error = task.exception()
                if process is None or process.alive:
                    self._failed(f"nobody took what {task.get_coro()!r} raised", error)
        self._every_task.clear()


def _task_of(handle: asyncio.Handle) -> str:
    """Whose turn it is. No addresses: it stands in the trace."""
    callback = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    return str(getattr(owner.get_coro() if isinstance(owner, asyncio.Task) else callback, "__qualname__", "something"))
