#!/bin/sh
# Fetch OpenSeadragon, with which the page zooms, from npm into a folder: docker/viewer.sh service/static/vendor/openseadragon
set -eu
folder=$1
work=$(mktemp -d)
npm pack --silent openseadragon@6.1.1 --pack-destination "$work" > "$work/name"
tar -xzf "$work/$(cat "$work/name")" -C "$work"
script=$work/package/build/openseadragon/openseadragon.min.js
echo "14d587cd3ee7c4861f1a41077ce642029364a21029956ba635bd8fb1202cf9ad  $script" | sha256sum --check --quiet
mkdir -p "$folder"
sed '/^\/\/# sourceMappingURL=/d' "$script" > "$folder/openseadragon.min.js"
cp "$work/package/LICENSE.txt" "$folder"
rm -r "$work"
