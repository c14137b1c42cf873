#!/usr/bin/env bash
# Builds the image and runs docker-compose.yml for real, also on a Debian machine without Docker Hub: the base image comes from
# debootstrap and dockerd is started by hand; both are gone at the end. Run as root.
#
#   apt-get install docker.io docker-compose debootstrap
#   deploy/docker/try.sh [WORK]     WORK keeps the base image between calls; a temporary folder when absent
#
# BASE_IMAGE=python:3.11-slim-bookworm takes an image that the daemon has or can pull, instead of making one.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${1:-$(mktemp -d)}
mkdir -p "$work"
export DOCKER_BUILDKIT=1 COMPOSE_PROJECT_NAME=agentic-try AGENTIC_IMAGE=agentic-workflows:try
free_port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
export AGENTIC_PORT=${AGENTIC_PORT:-$free_port} BASE_IMAGE=${BASE_IMAGE:-agentic-base:bookworm}
daemon=""

say() { echo "== $*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
docker() { "${DOCKER:-/usr/bin/docker}" "$@"; }
compose() { if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi; }
api() { compose exec -T api "$@"; }

cleanup() {
    status=$?
    [ $status -eq 0 ] || compose logs --tail 60 api 2>/dev/null || true
    compose down --volumes --timeout 60 >/dev/null 2>&1 || true
    if [ -n "$daemon" ]; then
        kill "$daemon"
        while kill -0 "$daemon" 2>/dev/null; do sleep 0.2; done
    fi
    exit $status
}
trap cleanup EXIT

wait_for() { # wait_for SECONDS WHAT COMMAND...
    local seconds=$1 what=$2 end=$((SECONDS + $1))
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "$what: not within $seconds s"
        sleep 0.5
    done
}

start_daemon() {
    docker info >/dev/null 2>&1 && return
    command -v dockerd >/dev/null || fail "no Docker daemon answers and dockerd is not installed (apt-get install docker.io docker-compose debootstrap)"
    say "starting dockerd"
    export DOCKER_HOST="unix://$work/docker.sock"
    # Without iptables: the build uses the host's network, ports are published by docker-proxy.
    dockerd --data-root "$work/docker" --exec-root "$work/exec" --pidfile "$work/dockerd.pid" -H "$DOCKER_HOST" \
        --iptables=false --ip6tables=false >"$work/dockerd.log" 2>&1 &
    daemon=$!
    wait_for 30 "dockerd" docker info
}

make_base() {
    docker image inspect "$BASE_IMAGE" >/dev/null 2>&1 && return
    [[ $BASE_IMAGE == agentic-base:* ]] || return 0
    say "making $BASE_IMAGE with debootstrap"
    [ -x "$work/rootfs/usr/bin/python3.11" ] ||
        debootstrap --variant=minbase --include=python3.11,python3.11-venv,python3-venv,ca-certificates "${BASE_IMAGE#*:}" "$work/rootfs" >"$work/debootstrap.log"
    tar -C "$work/rootfs" --exclude='./proc/*' --exclude='./sys/*' --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' -c . |
        docker import --change 'CMD ["python3"]' - "$BASE_IMAGE" >/dev/null
}

build() {
    say "building $AGENTIC_IMAGE on $BASE_IMAGE"
    local secrets=() file
    for file in "${PIP_CONFIG_FILE:-}" "$HOME/.config/pip/pip.conf" /etc/pip.conf; do
        if [ -f "$file" ]; then secrets+=(--secret "id=pip,src=$file"); break; fi
    done
    [ ! -f /etc/ssl/certs/ca-certificates.crt ] || secrets+=(--secret id=ca,src=/etc/ssl/certs/ca-certificates.crt)
    docker build --network host --progress plain --build-arg "BASE_IMAGE=$BASE_IMAGE" "${secrets[@]}" -f deploy/docker/Dockerfile -t "$AGENTIC_IMAGE" . \
        >"$work/build.log" 2>&1 || { tail -40 "$work/build.log"; fail "the image does not build"; }
    docker image inspect --format '{{.Size}}' "$AGENTIC_IMAGE" | awk '{printf "   %.0f MB\n", $1 / 1e6}'
}

healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$(compose ps -q api)")" = healthy ]; }

check_walls() {
    say "walls"
    [ "$(api id -u)" = 10001 ] || fail "runs as another user than 10001"
    ! api sh -c 'touch /app/x 2>/dev/null' || fail "the root file system can be written"
    for tool in pip pip3 gcc make uv; do ! api sh -c "command -v $tool" >/dev/null || fail "$tool is in the image"; done
    ! api python3 -m pip --version >/dev/null 2>&1 || fail "pip is in the image"
    [ "$(api sh -c 'grep CapEff /proc/self/status | cut -f2')" = 0000000000000000 ] || fail "capabilities are left"
    [ "$(api sh -c 'grep NoNewPrivs /proc/self/status | cut -f2')" = 1 ] || fail "new privileges are possible"
    [ "$(docker port "$(compose ps -q api)")" = "8000/tcp -> 127.0.0.1:$AGENTIC_PORT" ] || fail "another port is published"
    [ "$(api stat -c %a /data/api-key)" = 600 ] || fail "the key can be read by others"
    local status
    status=$(python3 -c "import urllib.request as u, urllib.error as e
try: print(u.urlopen('http://127.0.0.1:$AGENTIC_PORT/v1/runs').status)
except e.HTTPError as error: print(error.code)")
    [ "$status" = 401 ] || fail "without a key the API answers $status"
}

start_daemon
make_base
build
say "starting"
compose up -d --no-build
wait_for 180 "health" healthy
check_walls
say "the main example"
api agentic run examples/research_brief/workflow.yaml --watch --yes
say "killing the container; the data stays"
docker kill "$(compose ps -q api)" >/dev/null
compose up -d --no-build
wait_for 180 "health after a kill" healthy
api agentic runs list --status succeeded --json | grep -q research-brief || fail "the run is gone"
api agentic doctor --fsck
say "stopping"
begin=$SECONDS
compose stop --timeout 60
code=$(docker inspect --format '{{.State.ExitCode}}' "$(compose ps -aq api)")
[ "$code" = 0 ] || fail "the platform ended with $code instead of draining"
say "drained in $((SECONDS - begin)) s; all is well"
