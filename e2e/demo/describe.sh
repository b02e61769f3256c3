#!/usr/bin/bash
# Describes a tree completely, one line per fact, with GNU tools only: two trees are equal if their descriptions are.
# usage: describe.sh FOLDER
set -euo pipefail
export LC_ALL=C
cd "$1"

# Type, mode, owner, group, times, link target; size of files only, since a folder's is the file system's affair.
find . -mindepth 1 \( -type d -printf '%p|%y|%m|%U|%G|-|%T@|\0' -o -printf '%p|%y|%m|%U|%G|%s|%T@|%l\0' \) | sort -z | tr '\0\n' '\n?' | sed 's/^/entry /'
# Names that share an inode, by name: inode numbers themselves may differ.
find . -type f -links +1 -printf '%i %p\0' | sort -z | tr '\0\n' '\n?' | while read -r inode path; do
  if [ "$inode" != "${last:-}" ]; then last=$inode first=$path; fi
  echo "hardlink $first = $path"
done
find . -type f -print0 | sort -z | xargs -0 sha256sum -z | tr '\0\n' '\n?' | sed 's/^/content /'
find . -print0 | sort -z | xargs -0 getfattr --no-dereference --dump --match=- --encoding=hex 2>/dev/null | sed 's/^/attribute /'
# A hole must come back as a hole: 256 MiB of file in less than 1 MiB of blocks.
find . -name sparse -type f -printf '%b\n' | while read -r blocks; do [ "$blocks" -lt 2048 ] && echo "sparse kept" || echo "sparse lost: $blocks blocks"; done
