#!/bin/sh
# Starts Redis; the password goes through standard input, so that no process list shows it.
set -eu
printf 'requirepass "%s"\nmaxmemory %s\n' "${REDIS_PASSWORD:?}" "${REDIS_MEMORY:?}" |
    exec "${REDIS_SERVER:-redis-server}" "${1:-/etc/redis/redis.conf}" -
