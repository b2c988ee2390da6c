import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { noAudit } from "../audit/audit.fixture.js";
import type { AuditSink } from "../audit/index.js";
import { openTestStore, type TestStore, temporaryDirectory } from "../store/store.fixture.js";
import { Accounts } from "./accounts.js";
import type { AccessRevoked } from "./revocations.js";
import type { Principal, Role } from "./roles.js";

/** API key of the first user. */
export const firstKey = "configured-key-of-twenty-or-more";

/** The accounts of a new installation, with what they tell the doors. */
export async function openTestAccounts(options: { readonly store?: TestStore; readonly audit?: AuditSink } = {}) {
	const { store = await openTestStore(), audit = noAudit } = options;
	const clock = { now: 1_000_000 };
	const accounts = new Accounts({ store, dataDir: store.dataDir, audit, now: () => clock.now });
	const home = await accounts.bootstrap({ adminApiKey: firstKey });
	const revoked: AccessRevoked[] = [];
	accounts.onAccessRevoked((what) => revoked.push(what));
	const first: Principal = { ...home, role: "admin" };
	/** Somebody new in a team, with an API key. */
	const join = async (teamId: string, name: string, role: Role) => {
		const user = await accounts.users.create(name);
		await accounts.teams.addMember(teamId, user.id, role);
		const { id: apiKeyId, key } = await accounts.createApiKey({ teamId, userId: user.id, name });
		return { apiKeyId, userId: user.id, teamId, role, key };
	};
	return { store, clock, accounts, home, first, revoked, join };
}

/** A new ed25519 key as ssh-keygen writes it into a `.pub` file. */
export function newPublicKey(comment = "ann@laptop"): string {
	const file = join(temporaryDirectory(), "id");
	execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", file]);
	return readFileSync(`${file}.pub`, "utf8");
}
