import json
import os

from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import Mail

base = {"host": os.environ["BASE_URL"]} if "BASE_URL" in os.environ else {}
message = Mail("a@example.com", "b@example.com", "Hello", "Hello")
print(json.dumps({"status": SendGridAPIClient("SG.none", **base).send(message).status_code}))
