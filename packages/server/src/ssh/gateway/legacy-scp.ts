/** scp runs itself at the other end in this way, but only without SFTP. */
const legacyScp = /^(?:\S*\/)?scp(?: -[a-zA-Z]+)* -[a-zA-Z]*[tf][a-zA-Z]*(?: |$)/;
/** Whether a command is one end of the old protocol, whose other end is `scp -O`. */
export function isLegacyScp(command: string): boolean {
	return legacyScp.test(command);
}

/** What is run instead. Whatever shell the user has understands this much. */
export const legacyScpRefusal = `exec /bin/sh -c 'echo "legacy scp mode is not supported; use scp without -O" >&2; exit 1'`;
