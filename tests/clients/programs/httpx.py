import os

import httpx

print(httpx.get(os.environ["URL"], timeout=10).raise_for_status().text)
