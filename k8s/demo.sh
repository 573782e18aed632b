#!/usr/bin/env bash
# k8s/demo.sh - loads the samples into the tally on loopback: the catalogue, then, when every article and warehouse is known
# where its stock is kept, the stock. samples/README.md has why. Loading twice changes nothing.
set -euo pipefail
samples=${SAMPLES:-/usr/share/tally/samples}
port=${PORT:-8080}
limit=${LIMIT:-60}

known() { # sku/warehouse
    local status=
    exec 3<>"/dev/tcp/127.0.0.1/$port" || return 1
    printf 'GET /v1/stock/%s HTTP/1.1\r\nHost: tally\r\nConnection: close\r\n\r\n' "$1" >&3
    read -r -t 5 _ status _ <&3 || true
    exec 3>&-
    [[ $status == 200 ]]
}

tally send "$samples/catalogue.ndjson"
while read -r path; do
    until known "$path"; do
        ((SECONDS < limit)) || { echo "demo: $path does not appear within $limit s: is tally running?" >&2; exit 1; }
        sleep 0.2
    done
done < <(sed -nE 's/.*"sku":"([^"]+)".*"warehouse":"([^"]+)".*/\1\/\2/p' "$samples/stock.ndjson" | sort -u)
tally send "$samples/stock.ndjson"
echo "demo: curl -s http://127.0.0.1:$port/v1/stock/TS-RED-M"
