#!/bin/sh
# PID 1 of a devbox, run as root at every start. Plain POSIX sh, so that it runs in any image that has a shell.
#
# Everything it needs lies in /run/gangway (see boot.ts): it creates the user, starts sshd, runs the launch commands in
# order and then the entrypoint, and reports each step on the console with a line that begins with RS and carries this
# boot's nonce (see console.ts). SIGTERM is a suspend: the suspend commands run, then everything ends.

run=/run/gangway
. "$run/boot.env" # nonce user uid first_start sets_path launch_count suspend_count suspend_deadline
PATH="${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}:/opt/gangway/bin"
export PATH
umask 022 # not the daemon's: it would be that of every file the user makes
stopping=
trap 'stopping=1' TERM INT

report() {
	printf '\036%s %s\n' "$nonce" "$*"
}

# --- the user ------------------------------------------------------------------------------------------------------

entry_of() { # file name-or-id field: the first line whose field has that value
	while IFS= read -r line || [ -n "$line" ]; do # the last line may have no end
		value=$line
		skip=$3
		while [ "$skip" -gt 1 ]; do
			value=${value#*:}
			skip=$((skip - 1))
		done
		[ "${value%%:*}" = "$2" ] && printf '%s\n' "$line" && return
	done <"$1"
}

append() { # line file: on a line of its own, also where the last one has no end
	[ -z "$(tail -c 1 "$2")" ] || echo >>"$2"
	printf '%s\n' "$1" >>"$2"
}

field() { # line number
	printf '%s\n' "$1" | cut -d: -f"$2"
}

make_user() {
	shell=/bin/sh
	[ -x /bin/bash ] && shell=/bin/bash
	known=$(entry_of /etc/passwd "$user" 1)
	if [ -n "$known" ]; then
		if [ "$(field "$known" 3)" != "$uid" ]; then
			report "failed user"
			echo "user $user exists in this image with uid $(field "$known" 3), not $uid: name that uid or another user"
			exit 1
		fi
		gid=$(field "$known" 4)
		home=$(field "$known" 6)
		own_shell=$(field "$known" 7)
		[ -x "$own_shell" ] || own_shell= # sshd lets nobody in whose shell is not there
		case $own_shell in
		'' | */nologin | */false) sed -i "s|^\($user:.*:\)[^:]*\$|\1$shell|" /etc/passwd ;;
		*) shell=$own_shell ;;
		esac
	else
		home=/home/$user
		group=$(entry_of /etc/group "$user" 1)
		gid=$uid
		if [ -n "$group" ]; then
			gid=$(field "$group" 3)
		else
			# A group id that is taken is shared rather than moved: the user's files keep the gid they were made with.
			append "$user:x:$gid:" /etc/group
		fi
		append "$user:x:$uid:$gid::$home:$shell" /etc/passwd
		# "*" and not "!": sshd without PAM takes "!" for a locked account. No password matches either.
		[ -f /etc/shadow ] && append "$user:*:19000:0:99999:7:::" /etc/shadow
	fi
	if [ ! -d "$home" ]; then
		mkdir -p "$home"
		[ -d /etc/skel ] && cp -R /etc/skel/. "$home/"
		chown -R "$uid:$gid" "$home"
	fi
	if [ -d /etc/sudoers.d ] && [ "$uid" != 0 ]; then
		rm -f /etc/sudoers.d/gangway
		echo "$user ALL=(ALL:ALL) NOPASSWD: ALL" >/etc/sudoers.d/gangway
		chmod 0440 /etc/sudoers.d/gangway
	fi
	chown -R "$uid:$gid" "$run/user"
}

# Login shells begin with a PATH of /etc/profile's own: theirs becomes the one of every other session.
keep_path() {
	[ -d /etc/profile.d ] || return
	if [ "$sets_path" = 1 ]; then
		grep '^export PATH=' "$run/user/env"
	else
		printf 'case ":$PATH:" in *:%s:*) ;; *) PATH=$PATH:%s ;; esac\n' /opt/gangway/bin /opt/gangway/bin
	fi >/etc/profile.d/gangway.sh
}

# Runs a script of the user's as the user, in the home directory, with the devbox's environment variables.
as_user() {
	set -- "$shell" -c ". $run/user/env; cd; exec $shell $1"
	if [ "$uid" = 0 ]; then
		HOME=$home USER=$user LOGNAME=$user SHELL=$shell exec "$@" </dev/null
	elif setpriv --reuid=0 true 2>/dev/null; then
		HOME=$home USER=$user LOGNAME=$user SHELL=$shell exec setpriv --reuid="$uid" --regid="$gid" --init-groups "$@" </dev/null
	else
		exec su -s "$shell" "$user" -c "$3" </dev/null
	fi
}

# --- files ---------------------------------------------------------------------------------------------------------

write_files() {
	n=0
	while [ -f "$run/files/$n.path" ]; do
		path=$(cat "$run/files/$n.path")
		case $path in
		/*) ;;
		'~/'*) path=$home/${path#??} ;;
		*) path=$home/$path ;;
		esac
		missing=$(dirname "$path")
		top=
		while [ ! -d "$missing" ]; do
			top=$missing
			missing=$(dirname "$missing")
		done
		if ! { mkdir -p "$(dirname "$path")" && cat "$run/files/$n.content" >"$path"; }; then
			report "failed files"
			exit 1
		fi
		[ -n "$top" ] && chown -R "$uid:$gid" "$top"
		chown "$uid:$gid" "$path"
		n=$((n + 1))
	done
}

# --- sshd ----------------------------------------------------------------------------------------------------------

configure_sshd() {
	sshd=$(command -v sshd || true)
	if [ -z "$sshd" ]; then
		report "failed sshd"
		echo "this image has no sshd: add the package openssh-server to it"
		exit 1
	fi
	mkdir -p /run/sshd
	chmod 0755 /run/sshd
	# One SetEnv line, since sshd heeds only the first. sshd's own PATH would not know the image's.
	own_path=
	[ "$sets_path" = 1 ] || own_path="\"PATH=$PATH\""
	[ -n "$own_path$(cat "$run/sshd_setenv")" ] &&
		printf 'SetEnv %s %s\n' "$own_path" "$(cat "$run/sshd_setenv")" >>"$run/sshd_config"
	if ! "$sshd" -t -f "$run/sshd_config"; then
		report "failed sshd"
		exit 1
	fi
}

keep_sshd() {
	# Started again when it dies: without it nobody gets in.
	while :; do
		"$sshd" -D -e -f "$run/sshd_config" </dev/null >/dev/null 2>&1
		sleep 0.2
	done &
	keeper=$!
	while ! grep -qE '^ *[0-9]+: 0+:0016 0+:0000 0A ' /proc/net/tcp; do
		[ -n "$stopping" ] && return
		sleep 0.01
	done
}

# --- commands ------------------------------------------------------------------------------------------------------

# Waits for a child; a SIGTERM to us ends the wait, so suspending does not depend on what the child does.
await() {
	while :; do
		wait "$1"
		code=$?
		[ -n "$stopping" ] && return 1
		kill -0 "$1" 2>/dev/null || return 0
	done
}

launch() {
	n=0
	while [ "$n" -lt "$launch_count" ]; do
		report "launch $n begin"
		as_user "$run/user/launch.$n" 2>&1 &
		await $! || return 1
		report "launch $n end $code"
		if [ "$code" -ne 0 ]; then
			report "failed launch"
			exit 1
		fi
		n=$((n + 1))
	done
}

before_suspend() {
	[ "$suspend_count" -gt 0 ] || return
	(
		n=0
		while [ "$n" -lt "$suspend_count" ]; do
			report "suspend $n begin"
			(as_user "$run/user/suspend.$n") 2>&1
			report "suspend $n end $?"
			n=$((n + 1))
		done
	) &
	hooks=$!
	(
		sleep "$suspend_deadline"
		kill -KILL "$hooks" 2>/dev/null
	) &
	wait "$hooks"
}

others() {
	for process in /proc/[0-9]*; do
		[ "$process" = /proc/1 ] || return 0
	done
	return 1
}

finish() {
	kill -TERM -1 2>/dev/null
	kill -HUP -1 2>/dev/null # interactive shells ignore TERM
	left=100
	while [ "$left" -gt 0 ] && others; do
		sleep 0.02
		left=$((left - 1))
	done
	exit "$1"
}

suspend() {
	stopping=
	trap '' TERM INT
	kill "$keeper" 2>/dev/null
	before_suspend
	report stopped
	finish 0
}

make_user
keep_path
[ "$first_start" = 1 ] && write_files
rm -rf "$run/files"
configure_sshd
keep_sshd
[ -n "$stopping" ] || launch
[ -n "$stopping" ] && suspend
report initialized
if [ -f "$run/user/entrypoint" ]; then
	report "entrypoint begin"
	as_user "$run/user/entrypoint" 2>&1 &
	await $! || suspend
	report "entrypoint end $code"
	trap '' TERM INT
	kill "$keeper" 2>/dev/null
	finish 0
fi
while [ -z "$stopping" ]; do
	wait "$keeper"
	[ -n "$stopping" ] || keep_sshd
done
suspend
