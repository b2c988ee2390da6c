/**
 * The two shell scripts (the outer for bash, the inner for sh) that start a box. Values come in as `GW_…` variables, never as text of the script.
 * File descriptors: 0 a tar of the boot files, 1 and 2 the console, 3 reports to the daemon.
 */

/** What root in a box keeps. Everything that touches devices, mounts, modules, networks or other processes' memory is missing. */
export const capabilities = [
	"chown",
	"dac_override",
	"fowner",
	"fsetid",
	"kill",
	"setuid",
	"setgid",
	"setpcap",
	"net_bind_service",
	"sys_chroot",
	"audit_write",
] as const;

/** On the host: two control groups, and the process that writes the console. It ends when the box has, with the last byte written. */
export const outerScript = `
set -eu
IFS=$'\\n'
# What the daemon itself inherited, and node did not close, is not for boxes. The reason for bash: sh cannot name them.
for path in /proc/$$/fd/*; do
	fd=\${path##*/}
	[ "$fd" -le 3 ] || eval "exec $fd>&-"
done
join() { for group in $1; do echo 0 >"$group/cgroup.procs"; done; }
exec 2>&3
join "$GW_LAUNCHER_GROUPS"
exec 9</proc/self/ns/net
{
	join "$GW_BOX_GROUPS"
	exec unshare --mount --pid --ipc --uts --net --cgroup --fork --propagation private /bin/sh -c "$GW_INNER"
} | {
	# A pipe instead of the file itself: what the box holds it could truncate. In pieces, for a full disk must neither break
	# the pipe, which would kill the box, nor end its console for good; and a box that prints without end shall wait
	# instead of filling the disk faster than the daemon reads: 10 MiB/s.
	exec 2>/dev/null 3>&- 9<&-
	while :; do
		said=$(dd bs=64K count=16 2>&1 >>"$GW_CONSOLE") || sleep 0.1
		case $said in
		"0+0 records in"*) break ;;
		*"records in"*) ;;
		*) [ "$(dd bs=64K count=1 2>&1 >/dev/null | head -n 1)" != "0+0 records in" ] || break ;;
		esac
		said=\${said##*$'\\n'}
		[[ ! \${said%% *} =~ ^[0-9]{6,}$ ]] || sleep 0.1
	done
}
`;

/**
 * In the new namespaces, as the PID 1 to be. Everything here runs programs of the host, with every privilege, so the
 * host's root goes first: the stage below /sys has what is needed and nothing else, and becomes the root. The box's
 * own files run only after the capabilities are gone.
 */
export const innerScript = `
set -eu
IFS='
'
umask 022
# The host's /proc is still there: this is the process id as the daemon sees it.
read -r stat </proc/self/stat
echo "pid $stat" >&3
echo 0 >/proc/self/oom_score_adj

mount -n -t tmpfs -o mode=0755,size=4m gangway /sys
mkdir /sys/host
cp -dR --preserve=mode $GW_LINKS /dev/null /sys/
if [ -n "$GW_NODE" ]; then
	: >/sys/node
	mount -n --bind -o ro,nosuid,nodev "$GW_NODE" /sys/node
fi
printf %s "$GW_STAGE" >/sys/fstab
mount -n --all --fstab /sys/fstab
cd /sys
pivot_root . host
cd /
umount -n --lazy /host

# The box cannot take these away while it runs, and a link in their place would move what protects it.
for name in dev etc proc run sys usr; do
	[ -d "disk/root/$name" ] && [ ! -L "disk/root/$name" ] || { echo "/$name is not a directory" >&2; exit 1; }
done
printf %s "$GW_BOX" >fstab
mount -n --all --fstab /fstab
# A link there could put what the box has in the layer over the programs that this script goes on to run.
for layer in $GW_NESTED; do
	place="/box\${layer#*:}"
	[ "$(cd -P "$place" 2>/null && pwd -P)" = "$place" ] || continue
	mount -n --bind "/layers/\${layer%%:*}" "$place"
done
# Files at every start, whatever the box has made of them: a directory cannot be replaced, and reading a pipe never ends.
for name in hostname hosts resolv.conf; do
	[ -f "box/etc/$name" ] && [ ! -L "box/etc/$name" ] || rm -rf "box/etc/$name"
done
printf %s "$GW_HOSTNAME" >/proc/sys/kernel/hostname
ip -batch - <<END
$GW_LINK_BOX
END
nsenter --net=/proc/self/fd/9 ip -batch - <<END
$GW_LINK_HOST
END
# Ends with an error when the daemon died before it had sent everything: no half-started box.
tar --extract --preserve-permissions --numeric-owner --directory=/box --file=-
[ -d box/run/user ]
if [ -n "$GW_NODE" ]; then
	: >box/run/gangway-node
	mount -n --bind -o ro,nosuid,nodev /node /box/run/gangway-node
fi
if ! grep -qxF -e "$GW_HOSTS_LINE" box/etc/hosts 2>/null; then
	printf '%s\\n' '127.0.0.1 localhost' "$GW_HOSTS_LINE" >box/etc/hosts
fi

# As an initramfs leaves itself: the box's root covers the stage, and ".." at its top leads nowhere.
cd /box
mount -n --move /box /
trap '' PIPE
echo ready >&3 || :
unset GW_INNER GW_LAUNCHER_GROUPS GW_BOX_GROUPS GW_CONSOLE GW_LINKS GW_NODE GW_STAGE GW_BOX GW_NESTED GW_HOSTNAME GW_LINK_BOX \\
	GW_LINK_HOST GW_HOSTS_LINE LC_ALL SHLVL _ OLDPWD
trap - PIPE
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# A session of its own: kill(0) in the box must not reach its launcher.
exec setsid setpriv --bounding-set=-all,${capabilities.map((name) => `+${name}`).join()} --inh-caps=-all --ambient-caps=-all \\
	chroot . /bin/sh /run/gangway/init <dev/null 2>&1 3>&- 9<&-
`;
