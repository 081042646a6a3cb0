#!/bin/sh
# Installs the Debian packages that Kẻng needs: `sh keng/debian-packages.sh demo` or `… test`.
# Works on Debian 12 and 13 and Raspberry Pi OS, as root or with sudo; without either it says what to install.
set -eu

DEMO="python3 python3-venv mosquitto mpv espeak-ng pulseaudio pulseaudio-utils"
# libatomic1: Playwright's own node needs it.
TEST="$DEMO influxdb postgresql chromium libatomic1 docker-compose fonts-dejavu-core systemd"
# The first mosquitto that holds its in-flight window with MQTT 5.
MOSQUITTO_NEEDED=2.0.13

case "${1:-}" in
demo) wanted=$DEMO ;;
test) wanted=$TEST ;;
*) echo "usage: $0 demo|test" >&2 && exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "This is no Debian system; please install: $wanted (mosquitto $MOSQUITTO_NEEDED or newer)." >&2
    exit 0
fi

version_of() { dpkg-query -W -f '${Status} ${Version}\n' "$1" 2>/dev/null | sed -n 's/^install ok installed //p'; }
available() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: *//p' | grep -v '(none)' || true; }
new_enough() { [ -n "$1" ] && dpkg --compare-versions "$1" ge "$MOSQUITTO_NEEDED"; }

missing=""
for package in $wanted; do
    case "$package" in
    mosquitto) new_enough "$(version_of mosquitto)" || missing="$missing mosquitto" ;;
    # A Python of one's own that can make virtual environments is as good as Debian's.
    python3 | python3-venv) python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || missing="$missing $package" ;;
    # A PipeWire server speaks the same protocol.
    pulseaudio) [ -n "$(version_of pulseaudio)$(version_of pipewire-pulse)" ] || missing="$missing pulseaudio" ;;
    *) [ -n "$(version_of "$package")" ] || missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

root=""
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null; then
        root="sudo"
    else
        echo "Neither root nor sudo: please have these packages installed:$missing" >&2
        echo "(mosquitto $MOSQUITTO_NEEDED or newer: on Debian 12 from the suite bookworm-backports)" >&2
        exit 1
    fi
fi
echo "Installing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
$root apt-get update -qq

suite=""
case "$missing" in
*mosquitto*)
    if ! new_enough "$(available mosquitto)"; then
        codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
        suite="$codename-backports"
        if ! apt-cache policy | grep -q "n=$suite"; then
            # The mirror and the key that this machine already uses for the release itself.
            mirror=$(apt-get indextargets --format '$(SITE)|$(RELEASE)' "Created-By: Packages" |
                awk -F'|' -v release="$codename" '$2 == release && $1 ~ /debian/ { print $1; exit }')
            if [ -z "$mirror" ]; then
                echo "No mirror with $suite is known to this machine; please install mosquitto $MOSQUITTO_NEEDED or newer." >&2
                exit 1
            fi
            {
                printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\n' "$mirror" "$suite"
                key=/usr/share/keyrings/debian-archive-keyring.gpg
                [ ! -e "$key" ] || echo "Signed-By: $key"
            } | $root tee /etc/apt/sources.list.d/keng-backports.sources >/dev/null
            $root apt-get update -qq
        fi
    fi
    ;;
esac

for package in $missing; do
    if [ -z "$(available "$package")" ]; then
        echo "Debian has no package $package here; what needs it will say so." >&2
        continue
    fi
    from=""
    [ "$package" = mosquitto ] && [ -n "$suite" ] && from="-t $suite"
    # shellcheck disable=SC2086
    $root apt-get install -y -qq --no-install-recommends $from "$package" >/dev/null
    # Debian starts these as system services; Kẻng starts its own on ports of its own.
    case "$package" in
    mosquitto | influxdb | postgresql)
        if [ -d /run/systemd/system ]; then $root systemctl disable --now "$package" 2>/dev/null || true; fi
        ;;
    esac
done
