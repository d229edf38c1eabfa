import json
import os

from twilio.rest import Client

client = Client("AC00000000000000000000000000000000", "none")
if "BASE_URL" in os.environ:
    client.api.base_url = os.environ["BASE_URL"]
print(json.dumps({"sid": client.messages.create(to="+15005550006", from_="+15005550006", body="Hello").sid}))
