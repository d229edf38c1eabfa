import json
import os

from simple_salesforce import Salesforce

where = {"instance_url": os.environ["BASE_URL"]} if "BASE_URL" in os.environ else {"instance": "acme.my.salesforce.com"}
found = Salesforce(session_id="none", **where).query("SELECT Id FROM Account")
print(json.dumps({"records": found["totalSize"]}))
