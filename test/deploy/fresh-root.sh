#!/bin/sh
# Takes a fresh Debian, installs the packages of `npm run package`, and does there what the documentation says:
# starts broker and executor by their units' commands, runs a job, rotates the root key, asks doctor.
#
#   npm run package && npm run deploy-test            (root, Linux)
#
# The root is made once and kept in .tools; each test works on a copy of it that is laid over it.
set -eu
cd "$(dirname "$0")/../.."
base=$PWD/.tools/debian

if [ ! -e "$base/etc/debian_version" ]; then
  command -v debootstrap >/dev/null || apt-get install -y -qq --no-install-recommends debootstrap >&2
  rm -rf "$base.new"
  debootstrap --variant=minbase --include=ca-certificates bookworm "$base.new" http://deb.debian.org/debian >&2
  mv "$base.new" "$base"
fi
ls packages/claimcheck_*_all.deb >/dev/null || {
  echo "fresh-root: there is no package; run 'npm run package' first" >&2
  exit 1
}
work=$(mktemp -d)
export base work project="$PWD"
# In a mount and a process namespace of its own: what it starts and mounts ends with it.
unshare --mount --pid --fork --kill-child sh -eu -c '
  mount -t tmpfs tmpfs "$work"
  mkdir "$work/upper" "$work/work" "$work/root"
  mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/upper,workdir=$work/work" "$work/root"
  cd "$work/root"
  mount -t proc proc proc
  mount --rbind /sys sys
  mount --rbind /dev dev
  # Where images and containers are: an overlay cannot lie on another.
  mkdir -p var/lib/containers var/lib/claimcheck mnt/project mnt/host
  mount -t tmpfs tmpfs var/lib/containers
  mount -t tmpfs -o mode=0700 tmpfs var/lib/claimcheck
  mount --bind "$project" mnt/project
  # The way to the Debian mirror, and to npm, is the host'"'"'s.
  for file in /etc/resolv.conf /etc/hosts; do cp "$file" "etc/" 2>/dev/null || :; done
  cp -a /etc/apt/apt.conf.d/. etc/apt/apt.conf.d/
  cp -a /etc/ssl/certs/. etc/ssl/certs/ 2>/dev/null || :
  pivot_root . mnt/host
  umount -l /mnt/host
  exec sh /mnt/project/test/deploy/inside.sh
'
rmdir "$work"
