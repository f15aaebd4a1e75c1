#!/bin/bash
# The container of a front end with COMPASS_ENGINE=ray: a node of the cluster that has no cores, and the service.
# When either ends, so does the container, and whoever supervises it starts both again.
set -u
ray start --address="$COMPASS_RAY_ADDRESS" --num-cpus=0 --object-store-memory=200000000 --block &
node=$!
compass serve &
front=$!
trap 'kill -TERM "$front" 2>/dev/null' TERM INT

wait -n "$node" "$front"        # also returns, with more than 128, when it is told to end
ended=$?
kill -TERM "$front" 2>/dev/null
wait "$front"
status=$?
kill -TERM "$node" 2>/dev/null
[ "$ended" -gt 128 ] && exit "$status"
exit "$ended"
