#!/usr/bin/env bash
# Makes signatures.json: requests signed by openssl alone, for tests of what we compute ourselves.
#   bash tests/server/signatures.sh > tests/server/signatures.json
set -euo pipefail

vector() { # secret timestamp nonce METHOD path query body-in-hex
    local digest mac
    digest=$(printf %s "$7" | xxd -r -p | openssl dgst -sha256 -r | cut -d' ' -f1)
    mac=$(printf '%s\n%s\n%s\n%s\n%s\n%s' "$2" "$3" "$4" "$5" "$6" "$digest" |
        openssl dgst -sha256 -hmac "$1" -r | cut -d' ' -f1)
    printf '  {"secret": "%s", "timestamp": "%s", "nonce": "%s", "method": "%s",\n' "$1" "$2" "$3" "$4"
    printf '   "path": "%s", "query": "%s", "body": "%s",\n   "signature": "v1=%s"}' "$5" "$6" "$7" "$mac"
}

all=$(printf '%02x' {0..255})
echo '['
vector 's3cret' 1700000000 'nonce-0001' GET '/flows' '' '' && echo ,
vector 's3cret' 1700000000 'nonce-0002' POST '/flow/greet' '' '68616c6c6f' && echo ,
vector 'correct horse battery staple' 1700000000 'nonce-0003' POST '/flow/a%20b' 'x=1&y=%C3%A9&x=2' "$all" && echo ,
vector 'Schlüssel' 4102444800 'n~o.n/c+e=00_4' POST '/flow/f/request/r/retry' 'from=each%5B7%5D%2Fwork' '' && echo
echo ']'
