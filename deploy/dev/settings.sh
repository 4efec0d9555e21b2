# shellcheck shell=bash disable=SC2034
# Sourced by the commands beside it: where the dev services' state lies, and what `up` was told.

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
services=(call-intake clinical-outcome prescribing shared-record kpi-projection pas-gateway directory)

say() { printf '%s\n' "$*"; }
fail() {
  printf 'deploy/dev/%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# The comment at the head of a command is its help.
help() { sed -n '2,/^[^#]/{ s/^# \{0,1\}//p; }' "$0"; }

# PostgreSQL does not run as root, and the account it runs as cannot enter root's home.
default_folder() {
  if [ -n "${HEARTHLINE_DEV_FOLDER:-}" ]; then
    printf '%s' "$HEARTHLINE_DEV_FOLDER"
  elif [ -n "${XDG_STATE_HOME:-}" ]; then
    printf '%s/hearthline-dev' "$XDG_STATE_HOME"
  elif [ "$(id -u)" = 0 ]; then
    printf '/var/lib/hearthline-dev'
  else
    printf '%s/.local/state/hearthline-dev' "$HOME"
  fi
}

folder="$(default_folder)"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/hearthline"

kafka_nodes=1
kafka_port=19392
kafka_secure=no
postgres_port=19432
pgbouncer_port=19433
pgbouncer=no

# Once the folder is known: its parts, and what `up` was told last.
open_folder() {
  case "$folder" in /*) ;; *) folder="$PWD/$folder" ;; esac
  case "$folder" in *[[:space:]\'\"\\]*) fail "the folder's path has a space or a quote, which the Kafka and PostgreSQL settings files cannot hold: $folder" ;; esac
  settings="$folder/settings"
  secrets="$folder/secrets"
  tls="$folder/tls"
  if [ -r "$settings" ]; then
    # shellcheck disable=SC1090
    . "$settings"
  fi
}

save_settings() {
  local key
  for key in kafka_nodes kafka_port kafka_secure postgres_port pgbouncer_port pgbouncer; do
    printf '%s=%s\n' "$key" "${!key}"
  done >"$settings.new"
  mv "$settings.new" "$settings"
}

# make_folder PATH MODE
make_folder() {
  mkdir -p "$1"
  chmod "$2" "$1"
}

# secret NAME: prints the password of that name, made on first use.
secret() {
  local file="$secrets/$1"
  if [ ! -s "$file" ]; then
    make_folder "$secrets" 700
    make_folder "$(dirname "$file")" 700
    (umask 077 && head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$file.new")
    mv "$file.new" "$file"
  fi
  cat "$file"
}

# A private authority and one certificate for this machine's loopback names; both last a year.
make_certificates() {
  [ -s "$tls/server.pem" ] && return 0
  command -v openssl >/dev/null || fail "openssl is missing: install it (apt-get install openssl)"
  make_folder "$tls" 755
  (
    umask 077
    cd "$tls"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=Hearthline dev authority" \
      -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" -keyout ca.key -out ca.pem
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" -keyout server.key -out server.csr
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' >server.ext
    openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 -extfile server.ext -out server.new
    chmod 644 ca.pem server.new
    rm -f server.csr server.ext
    mv server.new server.pem
  ) >"$tls/openssl.log" 2>&1 || fail "openssl made no certificate; see $tls/openssl.log"
}

# listening PORT: does anything answer there?
listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# runs PID WORD: is that process alive, and is it ours? A pid file outlives its process and the number is given to others.
runs() {
  local command
  [ -n "$1" ] && command="$(ps -ww -o command= -p "$1" 2>/dev/null)" || return 1
  case "$command" in *"$2"*) return 0 ;; *) return 1 ;; esac
}

# ended SECONDS PID WORD: waits until that process is gone.
ended() {
  local deadline=$((SECONDS + $1))
  while runs "$2" "$3"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

number() {
  case "$2" in "" | *[!0-9]*) fail "$1 wants a number, not '$2'" ;; esac
  { [ "$2" -ge 1 ] && [ "$2" -le 65535 ]; } || fail "$1 wants a number from 1 to 65535, not $2"
}
