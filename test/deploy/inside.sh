#!/bin/sh
# The part of fresh-root.sh inside the fresh Debian. Each step says what it does; the first that fails ends the test.
set -eu
project=/mnt/project
export DEBIAN_FRONTEND=noninteractive HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd /root

step() { echo "== $*"; }
fail() { echo "fresh-root: $*" >&2; tail -n 5 /tmp/broker.log /tmp/executor.log >&2 2>/dev/null; exit 1; }
# The value is masked, and the command's status is the container's.
expect() { # TEXT COMMAND…
  wanted=$1
  shift
  printed=$("$@" 2>&1) || fail "$* ended with $?: $printed"
  case $printed in *"$wanted"*) ;; *) fail "$* printed: $printed" ;; esac
}
# The command of a unit, as its user.
start_unit() { # NAME
  unit=/usr/lib/systemd/system/claimcheck-$1.service
  command=$(sed -n 's/^ExecStart=//p' "$unit")
  user=$(sed -n 's/^User=//p' "$unit")
  # shellcheck disable=SC2086
  if [ -n "$user" ]; then
    install -d -m 0700 -o "$user" -g "$user" "/var/lib/claimcheck-$1" "/var/cache/claimcheck-$1"
    (cd "/var/lib/claimcheck-$1" && umask 077 &&
      XDG_CACHE_HOME=/var/cache/claimcheck-$1 XDG_STATE_HOME=/var/lib/claimcheck-$1 \
        exec setpriv --reuid "$user" --regid "$user" --init-groups $command) >"/tmp/$1.log" 2>&1 &
  else
    install -d -m 0755 /run/claimcheck
    (umask 077 && exec $command) >"/tmp/$1.log" 2>&1 &
  fi
  eval "$1=$!"
  for _ in $(seq 300); do
    grep -q "$2" "/tmp/$1.log" && return
    kill -0 $! 2>/dev/null || fail "$1 ended: $(cat "/tmp/$1.log")"
    sleep 0.1
  done
  fail "$1 does not serve: $(cat "/tmp/$1.log")"
}
stop() { kill "$1" && wait "$1" || :; }

step "install the packages"
apt-get update -qq
apt-get install -y -qq --no-install-recommends python3-minimal busybox-static curl >/dev/null 2>&1
apt-get install -y -qq "$project"/packages/claimcheck_*_all.deb "$project"/packages/claimcheck-node_*.deb >/dev/null
expect 0.1. claimcheck --version

step "the host is in order"
expect "ok    runtime" claimcheck doctor

step "the main job"
container=$(buildah from scratch)
root=$(buildah mount "$container")
mkdir -p "$root/bin" "$root/etc" "$root/root" "$root/dev" "$root/proc" "$root/sys"
cp /bin/busybox "$root/bin/busybox"
for applet in sh echo cat true; do ln -s busybox "$root/bin/$applet"; done
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
buildah commit --quiet --rm "$container" localhost/base:latest >/dev/null
export API_TOKEN=guessme
# shellcheck disable=SC2016
expect "this is the secret: ***" claimcheck run --secret-env MY_SECRET=env://API_TOKEN localhost/base:latest -- \
  sh -c 'echo this is the secret: $MY_SECRET'

step "a broker, an executor, a job"
mkdir /root/tokens
node=/usr/lib/claimcheck/node
$node $project/test/deploy/issuer.mjs 7900 http://127.0.0.1:7878 /root/tokens job executor auditor >/tmp/issuer.log &
until grep -qs serving /tmp/issuer.log; do sleep 0.1; done
etc=/etc/claimcheck
head -c 32 /dev/urandom >$etc/root-key
cat >$etc/broker.yaml <<YAML
url: http://127.0.0.1:7878
listen: 127.0.0.1:7878
rootKey: { file: root-key }
policy: policy.yaml
audit: /var/lib/claimcheck-broker/audit.jsonl
sources:
  files: { provider: file, tenants: [acme], roots: [/srv/secrets] }
YAML
mkdir -m 0700 /srv/secrets
echo guessme >/srv/secrets/token
cat >$etc/executor.yaml <<YAML
listen: { socket: /run/claimcheck/executor.sock }
broker: { url: "http://127.0.0.1:7878", keys: [KEYS], principal: "hosts:executor", tokenFile: /root/tokens/executor.token }
state: /var/lib/claimcheck
images: ["localhost/base:*"]
YAML
# The policy names the executor's key, and the executor the broker's: each is made first.
keys() { setpriv --reuid claimcheck --regid claimcheck --clear-groups claimcheck broker keys --config $etc/broker.yaml; }
sed -i "s/KEYS/$(printf 'A%.0s' $(seq 43))/" $etc/executor.yaml
jkt=$(claimcheck executor key --config $etc/executor.yaml)
cat >$etc/policy.yaml <<YAML
version: 1
issuers:
  hosts: { issuer: "http://127.0.0.1:7900", algorithms: [ES256] }
tenants:
  acme:
    principals:
      - { issuer: hosts, claims: { sub: job }, roles: [requester] }
      - { issuer: hosts, claims: { sub: executor }, roles: [executor], proofKeys: [$jkt] }
      - { issuer: hosts, claims: { sub: auditor }, roles: [operator] }
    rules:
      - { name: jobs, actions: [issue], who: { sub: job }, secrets: ["file:///srv/secrets/**"], limits: { keyBinding: true } }
      - { name: executors, actions: [redeem, check], who: { sub: executor }, secrets: ["file:///srv/secrets/**"] }
YAML
chown -R claimcheck:claimcheck $etc/root-key /srv/secrets
chgrp -R claimcheck $etc
chmod 640 $etc/*.yaml
chmod 600 $etc/root-key
start_unit broker serving
pins() { sed -n 's/.*keys \([A-Za-z0-9_,-]*\).*/\1/p' /tmp/broker.log | head -n 1; }
sed -i "s/keys: \[[^]]*\]/keys: [$(pins)]/" $etc/executor.yaml
start_unit executor "executor at"
export CLAIMCHECK_EXECUTOR=/run/claimcheck/executor.sock CLAIMCHECK_TOKEN_FILE=/root/tokens/job.token
export CLAIMCHECK_BROKER_KEYS="$(pins)"
uri=file:///srv/secrets/token
# shellcheck disable=SC2016
job() { claimcheck run --secret-env "TOKEN=$uri" localhost/base:latest -- sh -c 'echo deploying with $TOKEN'; }
expect "deploying with ***" job
expect "ok    token" claimcheck doctor --config $etc/executor.yaml

step "rotate the root key"
cp -p $etc/root-key $etc/old-root-key
head -c 32 /dev/urandom >$etc/new-root-key
chown claimcheck:claimcheck $etc/new-root-key $etc/old-root-key
chmod 600 $etc/new-root-key $etc/old-root-key
# The audit log of before is verified by the keys of before.
curl -sf http://127.0.0.1:7878/.well-known/jwks.json >/root/old-keys.json
sed -i 's/^rootKey: .*/rootKey: { file: new-root-key }\npreviousRootKey: { file: old-root-key }/' $etc/broker.yaml
stop "$broker"
start_unit broker serving
sed -i "s/keys: \[[^]]*\]/keys: [$CLAIMCHECK_BROKER_KEYS,$(pins)]/" $etc/executor.yaml
export CLAIMCHECK_BROKER_KEYS="$CLAIMCHECK_BROKER_KEYS,$(pins)"
stop "$executor"
start_unit executor "executor at"
expect "deploying with ***" job

step "everything is in order"
expect "ok    token" claimcheck doctor --config $etc/executor.yaml
case $printed in *FAIL*) fail "doctor says: $printed" ;; esac
printf '%s\n' "$printed"
curl -sf http://127.0.0.1:7878/.well-known/jwks.json >/root/new-keys.json
$node -e '
  const [old, now] = process.argv.slice(1).map((file) => JSON.parse(require("node:fs").readFileSync(file)));
  const known = new Set(now.keys.map(({ kid }) => kid));
  console.log(JSON.stringify({ keys: [...now.keys, ...old.keys.filter(({ kid }) => !known.has(kid))] }));
' /root/old-keys.json /root/new-keys.json >/root/keys.json
expect "" claimcheck audit verify --keys /root/keys.json /var/lib/claimcheck-broker/audit.jsonl
printf '%s\n' "$printed"
stop "$executor"
stop "$broker"
echo "fresh-root: all is well"
