import os
import urllib.request

with urllib.request.urlopen(os.environ["URL"], timeout=10) as response:
    print(response.read().decode())
