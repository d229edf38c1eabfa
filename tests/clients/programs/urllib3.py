import os

import urllib3

if "OPTION" in os.environ:
    http = urllib3.ProxyManager(os.environ["HTTPS_PROXY"], ca_certs=os.environ["SSL_CERT_FILE"], retries=False)
else:
    http = urllib3.PoolManager(retries=False)
print(http.request("GET", os.environ["URL"], timeout=10).data.decode())
