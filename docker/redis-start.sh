#!/bin/sh
# Starts Redis; the password goes from a secret's file through standard input, so that no process list shows it.
set -eu
REDIS_PASSWORD=$(cat "${REDIS_PASSWORD_FILE:-/run/secrets/redis_password}")
exec "${REDIS_SERVER:-redis-server}" "${1:-/etc/redis/redis.conf}" - <<CONFIG
requirepass "${REDIS_PASSWORD:?}"
maxmemory ${REDIS_MEMORY:?}
CONFIG
