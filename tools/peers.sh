#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Install the foreign programs that the tests marked `peers` talk to, each only when it is missing.
# A failure here is not the end: each test says itself which program it misses (and fails for it when CI is set).
set -u
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/sbin"  # where Debian has daemons, and its users do not look

missing=""
for pair in socat:socat openssl:openssl stunnel:stunnel4 ncat:ncat microsocks:microsocks tinyproxy:tinyproxy \
    danted:dante-server sshd:openssh-server ssh:openssh-client systemd-socket-activate:systemd \
    clangd:clangd qemu-system-x86_64:qemu-system-x86 chromium:chromium redis-server:redis-server \
    gearmand:gearman-job-server dnsmasq:dnsmasq-base mosquitto:mosquitto rsyslogd:rsyslog \
    atftpd:atftpd; do  # program:package
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done
# By it dante gets accounts of its own for passwords.
ls /usr/lib/*/libnss_wrapper.so >/dev/null 2>&1 || missing="$missing libnss-wrapper"
# Debian keeps the server's programs off the path.
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing="$missing postgresql"
if [ -n "$missing" ]; then
    sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo"
    $sudo apt-get update -q || echo "peers: apt-get update failed" >&2
    for package in $missing; do  # one by one: a package that is not to be had takes no other with it
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-remove --no-install-recommends "$package" \
            || echo "peers: $package could not be installed" >&2
    done
fi

# The packages of npm, as name@version. All at once: npm takes away what a second installation does not name.
packages=$(sed -n 's/^ *"\([^"]*\)": "\([0-9][^"]*\)",\{0,1\}$/\1@\2/p' tests/peers/package.json)
installed=yes
cmp -s tests/peers/package.json .peers/package.json || installed=no
for package in $packages; do
    [ -d ".peers/node_modules/${package%@*}" ] || installed=no
done
if [ "$installed" = no ]; then
    mkdir -p .peers
    rm -f .peers/package.json
    # It comes back last, as the stamp of a finished installation. Nothing that a package wants to run is run: what it
    # would build is missing, and bcoin_node.cjs does without.
    # shellcheck disable=SC2086  # one word for each package
    if npm install --prefix .peers --no-save --no-package-lock --no-audit --no-fund --ignore-scripts $packages; then
        cp tests/peers/package.json .peers/package.json
    else
        echo "peers: the packages of npm could not be installed" >&2
    fi
fi
