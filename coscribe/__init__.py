"""Coscribe: documents that many people edit at once. Here is what an app's backend needs without a connection.

The client is in `coscribe.client`, for it brings aiohttp along.
"""

from coscribe.ot import Delta, DeltaTooLarge, InvalidDelta, Limits

__all__ = ["Delta", "DeltaTooLarge", "InvalidDelta", "Limits"]
