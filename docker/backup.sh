#!/bin/sh
# Writes a snapshot of the running store to standard output, as restore.sh reads it.
# usage: backup.sh [options of redis-cli] > backup.rdb
# (`redis-cli --rdb -` alone would leave the marker that ends the transfer at the end of the file.)
set -eu
secret="${REDIS_PASSWORD_FILE:-/run/secrets/redis_password}"
if [ -r "$secret" ]; then
    REDISCLI_AUTH=$(cat "$secret")
    export REDISCLI_AUTH
fi
file=$(mktemp "${BACKUP_FOLDER:-/data}/backup.XXXXXX")
trap 'rm -f "$file"' EXIT
redis-cli "$@" --rdb "$file" >&2
cat "$file"
