"""Follows blocks with the package websockets, and goes on after a broken connection.

usage: guide_stream.py URL KEY COUNT; exit: 0 when COUNT blocks came in order, half of them on a second connection
"""

import asyncio
import json
import sys

import websockets


async def follow(url, key, count, cursor):
    """Gives COUNT events behind a cursor."""
    events = []
    async with websockets.connect(url) as socket:
        await socket.send(json.dumps({"type": "auth", "api_key": key}))
        subscribe = {"type": "subscribe", "channel": "blocks", "from_cursor": cursor}
        await socket.send(json.dumps(subscribe))
        while len(events) < count:
            message = json.loads(await socket.recv())
            assert message["type"] != "error", message
            if message["type"] == "event":
                events.append(message)
    return events


async def main(url, key, count):
    half = count // 2
    first = await follow(url, key, half, "start")
    second = await follow(url, key, count - half, first[-1]["cursor"])
    heights = [event["data"]["height"] for event in first + second]
    assert heights == list(range(heights[0], heights[0] + count)), heights
    print(len(heights))


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
