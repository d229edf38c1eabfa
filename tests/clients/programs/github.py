import json
import os

from github import Auth, Github

base = {"base_url": os.environ["BASE_URL"]} if "BASE_URL" in os.environ else {}
github = Github(auth=Auth.Token("none"), retry=None, timeout=10, **base)
print(json.dumps({"login": github.get_user("octocat").login}))
