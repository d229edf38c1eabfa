import asyncio
import os

import aiohttp


async def main() -> None:
    session = aiohttp.ClientSession(trust_env="OPTION" in os.environ, timeout=aiohttp.ClientTimeout(10))
    async with session, session.get(os.environ["URL"], raise_for_status=True) as response:
        print(await response.text())


asyncio.run(main())
