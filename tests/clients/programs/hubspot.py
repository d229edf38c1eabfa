import json
import os

from hubspot import Client

way = {}
if "BASE_URL" in os.environ:
    way["host"] = os.environ["BASE_URL"]
if "OPTION" in os.environ:
    way["ssl_ca_cert"] = os.environ["SSL_CERT_FILE"]
    if "HTTPS_PROXY" in os.environ:
        way["proxy"] = os.environ["HTTPS_PROXY"]
print(json.dumps({"id": Client.create(access_token="none", **way).crm.contacts.basic_api.get_by_id("1").id}))
