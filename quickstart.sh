#!/bin/sh
# The first thing to try: a secret goes into a container, and what the container prints of it comes out masked.
set -eu
cd "$(dirname "$0")"

npm run --silent build >&2

image=alpine:latest
if ! buildah inspect --type image "$image" >/dev/null 2>&1 && ! timeout 60 buildah pull --quiet "$image" >/dev/null 2>&1; then
  echo "quickstart: $image cannot be pulled from here; using localhost/claimcheck-busybox instead" >&2
  image=localhost/claimcheck-busybox:latest
fi

# shellcheck disable=SC2016
API_TOKEN=guessme node dist/claimcheck.cjs run --secret-env MY_SECRET=env://API_TOKEN "$image" -- \
  sh -c 'echo this is the secret: $MY_SECRET'
