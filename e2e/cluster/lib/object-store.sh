# The S3 server: versitygw over a folder, on the host's side of the bridge.
# shellcheck shell=bash

S3_ENDPOINT=http://$HOST_ADDRESS:$S3_PORT
S3_ACCESS_KEY=orlop-e2e-access
# Made anew with each cluster, so that a test can look for exactly these bytes everywhere they must not be.
S3_SECRET_FILE=$STATE_DIR/s3-secret-key

start_object_store() {
  mkdir -p "$STATE_DIR/s3/data" "$STATE_DIR/s3/identities"
  [ -e "$S3_SECRET_FILE" ] || openssl rand -hex 24 >"$S3_SECRET_FILE"
  ROOT_ACCESS_KEY=$S3_ACCESS_KEY ROOT_SECRET_KEY=$(cat "$S3_SECRET_FILE") \
    background versitygw host versitygw --port "$HOST_ADDRESS:$S3_PORT" --keep-alive --quiet --iam-dir "$STATE_DIR/s3/identities" posix "$STATE_DIR/s3/data"
  await 20 "the S3 server" curl -s -o /dev/null "$S3_ENDPOINT"
}
