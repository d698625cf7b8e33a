#!/bin/sh
# Installs what the heavy tests use besides Python packages, where it is missing and apt is there
# (root or sudo): Chromium, PostgreSQL, libfaketime for a server whose clock jumps, HAProxy and
# Prometheus for what lies in deploy/.
set -eu
missing=""
command -v chromium >/dev/null 2>&1 || missing="chromium"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing="$missing libfaketime"
command -v haproxy >/dev/null 2>&1 || missing="$missing haproxy"
command -v promtool >/dev/null 2>&1 || missing="$missing prometheus"
[ -n "$missing" ] || exit 0
sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo"
$sudo apt-get update -qq
# shellcheck disable=SC2086 -- several words
$sudo apt-get install -y -qq --no-install-recommends $missing
