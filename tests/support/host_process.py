"""A shard host as a process of its own, without Ray: python -m tests.support.host_process NAME. It is the actor that
Ray would run; settings come from the environment, SIGTERM ends it in good order."""

import asyncio
import signal
import sys

from cluster.ray_actors import HostActor


async def main() -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    actor = HostActor(sys.argv[1])
    await stopped.wait()
    await actor.stop()


if __name__ == "__main__":
    asyncio.run(main())
