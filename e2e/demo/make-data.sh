#!/usr/bin/bash
# Fills a folder with what backup programs get wrong. Runs in the workload's pod. usage: make-data.sh FOLDER
set -euo pipefail
cd "$1"

small_files() { # three thousand of them, in folders of a hundred
  local folder file
  for folder in $(seq -w 30); do
    mkdir -p "documents/folder $folder"
    for file in $(seq -w 100); do echo "note $folder/$file: $RANDOM $RANDOM $RANDOM" >"documents/folder $folder/note $file.txt"; done
  done
}

large_files() {
  mkdir -p media logs
  local part
  for part in 1 2 3; do dd if=/dev/urandom of="media/film $part.bin" bs=1M count=48 status=none; done
  seq 1 9000000 | sed 's/^/2026-11-23T10:00:00Z INFO request served id=/' | head -c 120M >logs/service.log || true
}

awkward_files() {
  mkdir -p "awkward/naïve café – ünïcödé" awkward/empty-folder awkward/modes awkward/links awkward/attributes
  echo "non-ASCII" >"awkward/naïve café – ünïcödé/日本語 ファイル.txt"
  echo "newline" >"awkward/a name
with a newline"
  echo "leading dash" >"awkward/-rf"
  printf 'not UTF-8\n' >"awkward/latin1-$(printf '\xe9\xff').txt"
  : >awkward/empty
  echo "target" >awkward/links/target
  ln awkward/links/target awkward/links/hard-1
  ln awkward/links/target awkward/links/hard-2
  ln -s target awkward/links/relative
  ln -s /nowhere/at/all awkward/links/dangling
  ln -s ../.. awkward/links/upwards
  truncate -s 256M awkward/sparse
  printf 'start' | dd of=awkward/sparse conv=notrunc status=none
  printf 'end' | dd of=awkward/sparse conv=notrunc bs=1 seek=268435453 status=none
  mkfifo awkward/pipe
  local mode
  for mode in 000 400 640 755 1777 2755 4711 7777; do echo "$mode" >"awkward/modes/$mode" && chmod "$mode" "awkward/modes/$mode"; done
  echo owned >awkward/owned && chown 1234:5678 awkward/owned
  echo attributed >awkward/attributes/file
  setfattr -n user.origin -v "the demo" awkward/attributes/file
  setfattr -n user.binary -v 0x00ff10 awkward/attributes/file
  setfattr -n user.folder -v "folders too" awkward/attributes
  touch -d '1999-12-31T23:59:59.123456789Z' awkward/attributes/file
  chmod 0711 awkward/modes
  touch -d '2001-02-03T04:05:06.7Z' awkward/modes
}

small_files
large_files
awkward_files
sync
