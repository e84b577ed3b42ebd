#!/usr/bin/env bash
# Read one picture, at once and as a background job: ./curl.sh receipt.jpg
set -euo pipefail
picture=$1
ocr=${OCR:-http://127.0.0.1:8000}
key=${OCR_KEY:-none} # any word where no key is required

request() { curl -sS --fail-with-body -H "X-API-Key: $key" "$@"; }

# Only the values. Without response=fields the answer has positions, confidence and all text as well.
request "$ocr/v1/ocr" -F "file=@$picture" -F instruction="extract total amount" -F response=fields
echo

# A job survives a restart of the appliance. The Idempotency-Key makes it safe to repeat the request after a broken connection.
location=$(request -D - -o /dev/null "$ocr/v1/jobs" -F "file=@$picture" -F fields=total_amount,date \
  -H "Idempotency-Key: $(sha256sum <"$picture" | cut -c1-32)" | tr -d '\r' | sed -n 's/^location: //ip')
request "$ocr$location?wait=60"
echo
