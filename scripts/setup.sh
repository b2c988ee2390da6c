#!/bin/sh
# Prepares this checkout: Debian packages, npm packages, build. Does only what is missing, so a second run is quick.
# Sourced by start.sh and test.sh, which have changed to the top of the checkout.

fail() {
	echo "gangway: $*" >&2
	exit 1
}

needed="iproute2 nftables openssl openssh-server openssh-client rsync util-linux"

missing_packages() {
	for package in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf ' %s' "$package"
	done
}

# Gangway needs the programs, in devboxes and tests; the host's own services are none of its business.
keep_off() { # units ...
	command -v systemctl >/dev/null || return 0
	if ! systemctl is-enabled "$1" >/dev/null 2>&1 && systemctl mask "$@" >/dev/null 2>&1; then
		echo "gangway: the host's own $1 stays off (systemctl unmask $* to use it)" >&2
	fi
}

install_packages() { # packages ...
	echo "gangway: installing$(printf ' %s' "$@")" >&2
	for package in "$@"; do
		case $package in
		openssh-server) keep_off ssh.service ssh.socket ;;
		nginx | caddy) keep_off "$package.service" ;;
		esac
	done
	log=$(mktemp)
	if ! { apt-get update && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1; then
		cat "$log" >&2
		rm -f "$log"
		fail "could not install:$(printf ' %s' "$@")"
	fi
	rm -f "$log"
}

setup() { # more Debian packages ...
	command -v node >/dev/null || fail "Node.js 20.19 or newer is needed (https://nodejs.org)"
	node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' ||
		fail "Node.js 20.19 or newer is needed, this is $(node --version)"
	[ "$(uname -s)" = Linux ] || fail "the runtime for devboxes needs Linux, this is $(uname -s)"
	command -v dpkg-query >/dev/null || fail "this set-up is for Debian and its relatives; install yourself: $needed"
	# shellcheck disable=SC2046,SC2086
	set -- $(missing_packages $needed "$@")
	if [ "$(id -u)" != 0 ]; then
		[ $# = 0 ] || echo "gangway: missing packages: sudo apt-get install $*" >&2
		fail "root is needed to make network namespaces and mounts for devboxes: sudo env PATH=\"\$PATH\" npm ${npm_lifecycle_event:-start}"
	fi
	[ $# = 0 ] || install_packages "$@"
	install_modules
	npm run --silent build || fail "the build failed"
}

install_modules() {
	[ node_modules/.package-lock.json -nt package-lock.json ] && return
	log=$(mktemp)
	echo "gangway: npm ci (a minute or two, the first time)" >&2
	if ! npm ci --no-fund --no-audit >"$log" 2>&1; then
		# Where no prebuilt binary of a native module can be had, it is compiled.
		# shellcheck disable=SC2046
		set -- $(missing_packages python3 make g++)
		[ $# = 0 ] || install_packages "$@"
		npm ci --no-fund --no-audit >"$log" 2>&1 || {
			cat "$log" >&2
			fail "npm ci failed"
		}
	fi
	rm -f "$log"
	touch node_modules/.package-lock.json
}
