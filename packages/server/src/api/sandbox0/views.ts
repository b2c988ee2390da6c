/** What the dialect shows: schemas for the documentation, and the functions that make them. */
import { type Static, type TSchema, Type } from "typebox";
import type { UserSshKey } from "../../accounts/index.js";
import type { Devbox, Status } from "../../devboxes/index.js";
import { choice, nullable, strictObject } from "../schema.js";

export const wireStatuses = ["starting", "running", "paused", "terminating", "failed"] as const;
export type WireStatus = (typeof wireStatuses)[number];

/** There is one image so far: what the host has. */
export const defaultTemplate = "default";

const time = Type.String({ format: "date-time" });
const timeOrNull = nullable(time);
const status = choice(wireStatuses);

const times = {
	expires_at: timeOrNull,
	hard_expires_at: timeOrNull,
	created_at: time,
};

const claimView = strictObject(
	{ sandbox_id: Type.String(), status, pod_name: Type.String(), template: Type.String() },
	{ $id: "Sandbox0Claim" },
);

const summaryView = strictObject(
	{
		id: Type.String(),
		template_id: Type.String(),
		status,
		paused: Type.Boolean(),
		runtime_generation: Type.Integer({ description: "Grows at each resume." }),
		...times,
		updated_at: time,
	},
	{ $id: "Sandbox0Summary" },
);

const sandboxView = strictObject(
	{
		...summaryView.properties,
		team_id: Type.String(),
		user_id: Type.String(),
		auto_resume: Type.Boolean(),
		pod_name: Type.String(),
		claimed_at: time,
		ssh: strictObject({
			host: Type.String(),
			port: Type.Integer(),
			username: Type.String({ description: "The sandbox's id." }),
		}),
	},
	{ $id: "Sandbox0Sandbox" },
);

const statusView = strictObject(
	{
		sandbox_id: Type.String(),
		template_id: Type.String(),
		team_id: Type.String(),
		user_id: Type.String(),
		pod_name: Type.String(),
		status,
		claimed_at: time,
		...times,
	},
	{ $id: "Sandbox0Status" },
);

const sshKeyView = strictObject(
	{
		id: Type.String(),
		name: Type.String(),
		public_key: Type.String(),
		key_type: Type.String(),
		fingerprint_sha256: Type.String({ examples: ["SHA256:mVPwvezndPv/ARoIadVY98vAC0g+P/5633yTC4d/wXE"] }),
		comment: Type.String(),
		created_at: time,
		updated_at: time,
	},
	{ $id: "Sandbox0SshKey" },
);

const errorView = strictObject(
	{
		success: Type.Boolean({ const: false }),
		error: strictObject({
			code: Type.String({ description: "For programs: stable." }),
			message: Type.String({ description: "For people: names the field and what is allowed." }),
		}),
	},
	{ $id: "Sandbox0Error" },
);

export const views = {
	claim: claimView,
	list: strictObject({ sandboxes: Type.Array(summaryView), count: Type.Integer(), has_more: Type.Boolean() }),
	sandbox: sandboxView,
	status: statusView,
	pause: strictObject({ sandbox_id: Type.String(), paused: Type.Boolean(), status }),
	resume: strictObject({ sandbox_id: Type.String(), resumed: Type.Boolean() }),
	refresh: strictObject({ sandbox_id: Type.String(), expires_at: timeOrNull, hard_expires_at: timeOrNull }),
	message: strictObject({ message: Type.String() }),
	sshKey: sshKeyView,
	sshKeys: strictObject({ ssh_keys: Type.Array(sshKeyView) }),
	error: errorView,
} as const;

export const sandbox0Views = [claimView, summaryView, sandboxView, statusView, sshKeyView, errorView];

/** Every success has its view in this. */
export function enveloped(data: TSchema) {
	return strictObject({ success: Type.Boolean({ const: true }), data });
}

export function success<T extends object>(data: T) {
	return { success: true, data };
}

/** A devbox that is shut down is none of this dialect's. */
export function toWireStatus(status: Status): WireStatus {
	switch (status) {
		case "running":
		case "suspending":
			return "running";
		case "suspended":
			return "paused";
		case "failure":
			return "failed";
		case "shutdown":
			return "terminating";
		default:
			return "starting";
	}
}

export function toClaimView(devbox: Devbox): Static<typeof claimView> {
	return {
		sandbox_id: devbox.id,
		status: toWireStatus(devbox.status),
		pod_name: podName(devbox),
		template: defaultTemplate,
	};
}

export function toSummaryView(devbox: Devbox): Static<typeof summaryView> {
	return {
		id: devbox.id,
		template_id: defaultTemplate,
		status: toWireStatus(devbox.status),
		paused: devbox.status === "suspended",
		runtime_generation: devbox.generation,
		...toTimes(devbox),
		updated_at: toTime(devbox.transitions.at(-1)?.atMs ?? devbox.createdAtMs),
	};
}

/** Where the SSH gateway is reached. */
export interface SshGateway {
	readonly host: string;
	readonly port: number;
}

export function toSandboxView(devbox: Devbox, { host, port }: SshGateway): Static<typeof sandboxView> {
	return {
		...toSummaryView(devbox),
		team_id: devbox.teamId,
		user_id: devbox.createdBy,
		auto_resume: mayResume(devbox),
		pod_name: podName(devbox),
		claimed_at: toTime(devbox.createdAtMs),
		ssh: { host, port, username: devbox.id },
	};
}

export function toStatusView(devbox: Devbox): Static<typeof statusView> {
	return {
		sandbox_id: devbox.id,
		template_id: defaultTemplate,
		team_id: devbox.teamId,
		user_id: devbox.createdBy,
		pod_name: podName(devbox),
		status: toWireStatus(devbox.status),
		claimed_at: toTime(devbox.createdAtMs),
		...toTimes(devbox),
	};
}

export function toRefreshView({ id, ...devbox }: Devbox): Static<typeof views.refresh> {
	const { expires_at, hard_expires_at } = toTimes(devbox);
	return { sandbox_id: id, expires_at, hard_expires_at };
}

export function toSshKeyView(key: UserSshKey): Static<typeof sshKeyView> {
	return {
		id: key.id,
		name: key.name,
		public_key: key.publicKey,
		key_type: key.keyType,
		fingerprint_sha256: key.fingerprint,
		comment: key.comment,
		created_at: toTime(key.createdAtMs),
		updated_at: toTime(key.updatedAtMs),
	};
}

function mayResume({ launchParameters: { resumeTriggers } }: Devbox): boolean {
	return !(resumeTriggers?.http === false && resumeTriggers.ssh === false);
}

/** The runtimes know a devbox by its id. */
function podName(devbox: Devbox): string {
	return devbox.id;
}

function toTimes(devbox: Pick<Devbox, "createdAtMs" | "expiresAtMs" | "hardExpiresAtMs">) {
	return {
		expires_at: devbox.expiresAtMs === null ? null : toTime(devbox.expiresAtMs),
		hard_expires_at: devbox.hardExpiresAtMs === null ? null : toTime(devbox.hardExpiresAtMs),
		created_at: toTime(devbox.createdAtMs),
	};
}

function toTime(ms: number): string {
	return new Date(ms).toISOString();
}
