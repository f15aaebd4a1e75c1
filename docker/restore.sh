#!/bin/sh
# Makes a backup (an RDB file, read from standard input) the contents of an EMPTY store.
# usage: restore.sh FOLDER < backup.rdb     with FOLDER the store's data folder, Redis not running
set -eu
folder="${1:?usage: restore.sh FOLDER < backup.rdb}/appendonlydir"
if [ -e "$folder" ]; then
    echo "restore.sh: $folder exists: this store is not empty" >&2
    exit 1
fi
new="$folder.new"
rm -rf "$new"
mkdir "$new"
cat > "$new/appendonly.aof.1.base.rdb"
case "$(head -c 6 "$new/appendonly.aof.1.base.rdb" | tr -d '\0')" in
    REDIS* | VALKEY) ;;
    *) rm -rf "$new"; echo "restore.sh: this is not an RDB file" >&2; exit 1 ;;
esac
# An append-only file may begin with a snapshot; this one is nothing else.
echo 'file appendonly.aof.1.base.rdb seq 1 type b' > "$new/appendonly.aof.manifest"
sync
mv "$new" "$folder"
