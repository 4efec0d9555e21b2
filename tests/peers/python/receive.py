"""Accepts whatever python-hl7's own MLLP server hands over, and keeps nothing."""

import asyncio
import sys

import hl7
from hl7.mllp import start_hl7_server


async def serve(reader, writer):
    try:
        while not writer.is_closing():
            message = await reader.readmessage()
            writer.writemessage(message.create_ack())
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass


async def main() -> None:
    async with await start_hl7_server(serve, host="127.0.0.1", port=int(sys.argv[1])) as server:
        print(f"python-hl7 {hl7.__version__}", flush=True)
        await server.serve_forever()


asyncio.run(main())
