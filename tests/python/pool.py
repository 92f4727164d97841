"""Good requests between refused ones, over a pool of few connections: prints the statuses of both as JSON."""

import asyncio
import json
import sys

import aiohttp

URL, KEY, UNKNOWN_KEY = sys.argv[1:]
GOOD = b'{"event":"good"}'


def refused():
    """What a client does wrong, by turns: key, path, type, length."""
    events = f"{URL}/v1/events"
    body = b"x" * 50_000
    yield 401, events, {"X-API-Key": UNKNOWN_KEY}, GOOD
    yield 401, events, {"X-API-Key": UNKNOWN_KEY}, body
    yield 404, f"{URL}/v1/nothing", {"X-API-Key": KEY}, body
    yield 415, events, {"X-API-Key": KEY, "Content-Type": "application/xml"}, body
    yield 413, events, {"X-API-Key": KEY}, b"x" * (11 << 20)


async def parts(body):
    """A body of unknown length."""
    for start in range(0, len(body), 10_000):
        yield body[start : start + 10_000]


async def main():
    wrong, good = [], []

    async def post(url, headers, body):
        try:
            async with session.post(url, headers=headers, data=body) as response:
                await response.read()
                return response.status
        except aiohttp.ClientError as error:
            return repr(error)

    connector = aiohttp.TCPConnector(limit=2)
    async with aiohttp.ClientSession(connector=connector) as session:
        for chunked in [False, True]:
            for _ in range(4):
                for status, url, headers, body in refused():
                    sent = parts(body) if chunked else body
                    found = await post(url, headers, sent)
                    # A client that is still sending may see the end of the connection first.
                    if found != status and status != 413:
                        wrong.append([status, found])
                    good.append(await post(f"{URL}/v1/events", {"X-API-Key": KEY}, GOOD))
    print(json.dumps({"wrong": wrong, "good": good}))


asyncio.run(main())
