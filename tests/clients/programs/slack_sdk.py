import json
import os

from slack_sdk import WebClient

base = {"base_url": os.environ["BASE_URL"] + "/api/"} if "BASE_URL" in os.environ else {}
print(json.dumps({"team": WebClient("xoxb-none", timeout=10, **base).auth_test()["team"]}))
