#!/bin/sh
# Installs Chromium for the browser tests where it is missing and apt is there (root or sudo).
set -eu
command -v chromium >/dev/null 2>&1 && exit 0
sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo"
$sudo apt-get update -qq
$sudo apt-get install -y -qq --no-install-recommends chromium
