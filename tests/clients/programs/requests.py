import os

import requests

response = requests.get(os.environ["URL"], timeout=10)
response.raise_for_status()
print(response.text)
