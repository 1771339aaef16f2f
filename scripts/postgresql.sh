#!/usr/bin/env bash
# Makes sure that PostgreSQL 15 or newer server binaries are there; liuhen runs
# a private cluster of its own from them. Nothing is done where they are.
set -euo pipefail

found() {
	local dir
	for dir in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -Vr) ${PATH//:/ }; do
		[[ -x $dir/initdb && -x $dir/postgres ]] || continue
		local major
		major=$("$dir/postgres" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
		if (( major >= 15 )); then return 0; fi
	done
	return 1
}

give_up() {
	echo "PostgreSQL 15 or newer server binaries are needed, and $1. Run: $2" >&2
	exit 1
}

found && exit 0

how="apt-get install postgresql (or your system's way to install the PostgreSQL server), then try again"
command -v apt-get >/dev/null || give_up "there is no apt-get here" "$how"
sudo=()
if [[ $(id -u) != 0 ]]; then
	command -v sudo >/dev/null || give_up "installing them needs root, but there is no sudo" "su -c '$how'"
	sudo=(sudo)
fi

echo "Installing the PostgreSQL server (apt-get install postgresql) …" >&2
# Only the binaries are wanted: no system-wide cluster is made or started.
conf=/etc/postgresql-common/createcluster.conf
if [[ ! -e $conf ]]; then
	"${sudo[@]}" mkdir -p "${conf%/*}"
	echo "create_main_cluster = false" | "${sudo[@]}" tee "$conf" >/dev/null
fi
install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -qq
	-o Dpkg::Options::=--force-confold --no-install-recommends install postgresql)
"${sudo[@]}" apt-get -qq update || true
"${install[@]}" >/dev/null || give_up "apt-get could not install them" "sudo $how"
found || give_up "what apt-get installed is older" "$how with a newer release"
