exec wget --quiet --tries 1 --timeout 10 --output-document - ${OPTION:+"--ca-certificate=$SSL_CERT_FILE"} "$URL"
