#!/bin/sh
# Starts Redis; the password goes from a secret's file through standard input, so that no process list shows it.
# REDIS_PRIMARY="host port" makes it a replica of that server, which has the same password; after a change of roles
# either may be the other's. It decides at every start: what REPLICAOF tells a running server is forgotten then.
set -eu
REDIS_PASSWORD=$(cat "${REDIS_PASSWORD_FILE:-/run/secrets/redis_password}")
exec "${REDIS_SERVER:-redis-server}" "${1:-/etc/redis/redis.conf}" - <<CONFIG
requirepass "${REDIS_PASSWORD:?}"
masterauth "${REDIS_PASSWORD:?}"
maxmemory ${REDIS_MEMORY:?}
${REDIS_PRIMARY:+replicaof $REDIS_PRIMARY}
CONFIG
