"""Parts in which people type: one room, many documents, a hundred in a room."""

from collections.abc import Awaitable, Callable
from typing import Final

from benchmarks.router.crowd import FULL_MOST, OBSERVERS_MOST, Seat, classroom, evenly
from benchmarks.router.measured import Course, Measured
from benchmarks.router.search import Search

KEYS_PER_S: Final = 1.0  # of each in a room
ROOM_FIRST, ROOM_LEAST, ROOM_MOST = 100, 10, 8_000
DOCUMENT_KEYS_PER_S: Final = 2.0
DOCUMENTS_FIRST, DOCUMENTS_LEAST, DOCUMENTS_MOST = 50, 5, 4_000  # two sockets each: more are no more files
HUNDRED: Final = 100
COSTED: Final = 300  # clients in the room whose bytes are counted

Tell = Callable[[Measured], None]


async def room(course: Course, clients: int) -> Measured:
    seats = classroom(clients, course.document("classroom"))
    return await course.typed("classroom", seats, KEYS_PER_S * clients)


async def documents(course: Course, count: int) -> Measured:
    """Each with one who types and one who reads; some of both are full clients, some readers observe."""
    full, observers = evenly(FULL_MOST // 2, count), evenly(OBSERVERS_MOST, count)
    seats = []
    for number in range(count):
        document, whole = course.document("document"), number in full
        seats.append(Seat(document, whole))
        seats.append(Seat(document, whole and number not in observers, types=False, observes=number in observers))
    return await course.typed("documents", seats, DOCUMENT_KEYS_PER_S * count)


async def largest(run: Callable[[int], Awaitable[Measured]], search: Search, tell: Tell) -> int:
    """Of what fits, 0 if nothing does; every run is told."""
    while (number := search.next()) is not None:
        measured = await run(number)
        tell(measured)
        search.told(number, measured.fits)
    return search.largest


async def largest_room(course: Course, tell: Tell) -> int:
    return await largest(lambda number: room(course, number), Search(ROOM_FIRST, ROOM_LEAST, ROOM_MOST), tell)


async def most_documents(course: Course, tell: Tell) -> int:
    search = Search(DOCUMENTS_FIRST, DOCUMENTS_LEAST, DOCUMENTS_MOST)
    return await largest(lambda number: documents(course, number), search, tell)
