import json
import os

import stripe

if "OPTION" in os.environ:
    stripe.ca_bundle_path = os.environ["SSL_CERT_FILE"]
base = {"base_addresses": {"api": os.environ["BASE_URL"]}} if "BASE_URL" in os.environ else {}
client = stripe.StripeClient("sk_test_none", max_network_retries=0, **base)
print(json.dumps({"id": client.v1.customers.retrieve("cus_1").id}))
