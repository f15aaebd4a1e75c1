#!/bin/sh
# Starts Redis; the password goes through standard input, so that no process list shows it.
set -eu
exec "${REDIS_SERVER:-redis-server}" "${1:-/etc/redis/redis.conf}" - <<CONFIG
requirepass "${REDIS_PASSWORD:?}"
maxmemory ${REDIS_MEMORY:?}
CONFIG
