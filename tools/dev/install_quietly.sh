#!/bin/sh
# tools/dev/install_quietly.sh PACKAGE ... - as root: installs packages of which none starts a server, now or with the
# machine. Those that tally is tested with run on ports of their own, and a proxy or database that appears on port 80,
# 5432 or 6379 because of ./dev deps would surprise.
set -eu
policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d} # what Debian's maintainer scripts ask; 101: it is forbidden

installed() {
    dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort
}
before=$(installed)
if [ ! -e "$policy" ]; then # one that is there has the last word
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 \
    install --no-install-recommends "$@" >/dev/null
# shellcheck disable=SC2046
units=$(for package in $(installed); do
    if ! printf '%s\n' "$before" | grep -qxF "$package"; then
        dpkg-query -L "$package" | sed -nE 's|^(/usr)?/lib/systemd/system/((nginx\|postgresql\|redis-server)\.service)$|\2|p'
    fi
done)
if [ -n "$units" ] && command -v systemctl >/dev/null; then
    # shellcheck disable=SC2086
    systemctl disable --quiet $units
fi
