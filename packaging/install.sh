# Sourced by ./check and ./quickstart: makes sure that the Debian packages of some sections are there.
#
#   . packaging/install.sh
#   install_packages LIST SECTION...     0: all there now; 2: something is missing, and what to do has been said

# "package reason" of each line in the sections asked for.
packages_of() {
	local list=$1
	shift
	awk -v wanted=" $* " '
		/^\[.*\]$/ { section = substr($0, 2, length($0) - 2); next }
		/^[a-z0-9]/ && index(wanted, " " section " ") { name = $1; sub(/^[^#]*#[ \t]*/, ""); print name, $0 }
	' "$list"
}

is_installed() {
	[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# A fresh machine or container may have no package lists yet, or old ones.
apt_install() {
	local install=(apt-get install -y -q --no-install-recommends "$@")

	export DEBIAN_FRONTEND=noninteractive
	"${install[@]}" || { apt-get update -q && "${install[@]}"; }
}

install_packages() {
	local list=$1 name reason log missing=()
	shift
	if ! command -v dpkg-query >/dev/null; then
		echo "This is not a Debian system: the packages of $list must be there under their names here."
		return 0
	fi
	while read -r name reason; do
		is_installed "$name" && continue
		missing+=("$name")
		printf 'missing package: %-20s %s\n' "$name" "$reason"
	done < <(packages_of "$list" "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	if [ "$(id -u)" != 0 ]; then
		echo "Run as root:  apt-get install --no-install-recommends ${missing[*]}" >&2
		return 2
	fi
	echo "installing ${#missing[@]} packages with apt-get"
	log=$(mktemp)
	if ! apt_install "${missing[@]}" >"$log" 2>&1 </dev/null; then
		tail -n 15 "$log" >&2
		rm -f "$log"
		echo "apt-get could not install: ${missing[*]}" >&2
		return 2
	fi
	rm -f "$log"
}
