import { type Logger, pino } from "pino";
import { expect } from "vitest";
import { noAudit } from "../audit/audit.fixture.js";
import type { AuditSink } from "../audit/index.js";
import { Seal, secretStorage } from "../store/index.js";
import type { TestStore } from "../store/store.fixture.js";
import type { Actor, CreateParams, Devbox } from "./devbox.js";
import { Devboxes } from "./devboxes.js";
import type { LifetimeSettings } from "./idle.js";
import type { Status } from "./lifecycle.js";
import { Passes } from "./passes.js";
import type { FakeRuntime } from "./runtime.fixture.js";

export const actor: Actor = { apiKeyId: "key_1", userId: "usr_1", teamId: "team_test" };
export const passes = new Passes(Buffer.alloc(32, 8));
/** The same for every test daemon: one that is started again must read what the last one sealed. */
const seal = new Seal(Buffer.alloc(32, 7));

export type LifetimeChange = Partial<LifetimeSettings>;

interface TestDevboxesOptions extends LifetimeChange {
	readonly store: TestStore;
	readonly runtime: FakeRuntime;
	readonly log?: Logger;
	/** Default: nobody listens. */
	readonly audit?: AuditSink;
}

/** The real devboxes on a real store, with boxes that are not there. The caller closes them. */
export async function openTestDevboxes(options: TestDevboxesOptions): Promise<Devboxes> {
	const { store } = options;
	await addMember(store, actor.userId);
	return Devboxes.open({
		seal,
		secrets: secretStorage(store.db, seal),
		passes,
		audit: noAudit,
		log: pino({ level: "silent" }),
		dataDir: store.dataDir,
		sshDomain: "ssh.example.com",
		defaultLifetime: 0,
		maxLifetime: 0,
		...options,
	});
}

/** Waits for the first of the statuses. */
export function reachStatus(devboxes: Devboxes, id: string, ...statuses: Status[]): Promise<Devbox> {
	return devboxes.waitForStatus(actor, id, statuses, 10_000, new AbortController().signal);
}

export async function runningBox(devboxes: Devboxes, params: CreateParams = {}): Promise<Devbox> {
	const { id } = await devboxes.create(actor, params);
	const box = await reachStatus(devboxes, id, "running", "failure");
	expect(box.status).toBe("running");
	return box;
}

export async function suspendedBox(devboxes: Devboxes, params: CreateParams = {}): Promise<Devbox> {
	const { id } = await runningBox(devboxes, params);
	await devboxes.suspend(actor, id);
	return reachStatus(devboxes, id, "suspended");
}

/** Who gets a box's key must be in its team. Again is fine. */
export async function addMember({ db, teamId }: TestStore, id: string, role: "member" | "viewer" = "member") {
	const user = { id, name: id, created_at_ms: 0 };
	await db
		.insertInto("users")
		.values(user)
		.onConflict((conflict) => conflict.doNothing())
		.execute();
	await db
		.insertInto("memberships")
		.values({ team_id: teamId, user_id: id, role, created_at_ms: 0 })
		.onConflict((conflict) => conflict.doNothing())
		.execute();
}
