import { can } from "../../accounts/index.js";
import type { Denial, Grant, PresentedKey, Registers } from "./access.js";

/** A team that nobody is in: asked about where there is none, so that an answer takes as long as any other. */
const noTeam = "team_none";
const noUser = "user_none";
/** `dbx_…`, or the same with `+main`: the only part of a devbox that can be entered. */
const username = /^(dbx_[0-9a-hjkmnp-tv-z]{26})(?:\+main)?$/;

/** The devbox that a username means. */
export function devboxIdOfUsername(name: string): string | undefined {
	return username.exec(name)?.[1];
}

/** Whether the holder of this key may enter this devbox now. Every question is asked, whatever the answer to the one before. */
export async function authorize(
	{ access, directory }: Registers,
	key: PresentedKey,
	devboxId: string | undefined,
): Promise<Grant | Denial> {
	const owner = await access.findSshKey(key.type, key.blob);
	const devbox = await directory.lookupDevbox(devboxId ?? "");
	const role = await access.roleIn(owner?.userId ?? noUser, devbox?.teamId ?? noTeam);
	if (devboxId === undefined) return "malformed_username";
	if (!owner) return "unknown_key";
	if (!devbox) return "unknown_devbox";
	if (role === undefined) return "not_a_member";
	if (!can({ role }, "enter")) return "role_may_not_enter";
	const { userId, sshKeyId } = owner;
	return Object.freeze({ userId, sshKeyId, devboxId, teamId: devbox.teamId, key });
}
