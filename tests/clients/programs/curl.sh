exec curl --silent --show-error --fail --max-time 10 "$URL"
