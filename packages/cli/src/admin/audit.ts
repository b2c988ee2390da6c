import { Command, InvalidArgumentError, Option } from "commander";
import type { AdminClient } from "./client.js";
import { contextOf, type Named, teamId, userId } from "./context.js";
import { printRows, type Row } from "./output.js";

interface AuditEvent extends Row {
	readonly id: string;
	readonly user_id: string | null;
	readonly duration_ms: number | null;
}

interface Flags {
	readonly team?: string;
	readonly devbox?: string;
	readonly user?: string;
	readonly action?: string;
	readonly outcome?: string;
	readonly since?: number;
	readonly until?: number;
	readonly limit: number;
}

const maxPage = 500;

export function auditCommand(): Command {
	return new Command("audit")
		.description("List what has happened, newest first: SSH sessions, changes of keys, tunnels and members, denials")
		.option("--team <team>", "a team's (default: all that you may see)")
		.option("--devbox <id>", "about this devbox")
		.option("--user <user>", "done by this user")
		.option("--action <action>", "such as ssh.session, or what stands before the dot: ssh")
		.addOption(new Option("--outcome <outcome>", "how it ended").choices(["ok", "denied", "failed"]))
		.option("--since <time>", "from then on: 2026-01-31T08:00Z, or so long ago: 15m, 24h, 7d", toTime)
		.option("--until <time>", "before then, written in the same way", toTime)
		.option("--limit <number>", "so many at most", toCount, 100)
		.action(async (flags: Flags, command: Command) => {
			const { client, format } = await contextOf(command);
			const answer = await listEvents(client, await toQuery(client, flags), flags.limit);
			const names = format === "text" ? await userNames(client) : new Map<string, string>();
			printRows(
				format,
				answer,
				answer.audit_events.map((event) => toRow(event, names)),
				["at_ms", "action", "outcome", "user", "devbox_id", "peer_address", "duration", "details"],
			);
		});
}

async function toQuery(client: AdminClient, flags: Flags): Promise<Record<string, string>> {
	const { team, devbox, user, action, outcome, since, until } = flags;
	const query = {
		team_id: team && (await teamId(client, team)),
		devbox_id: devbox,
		user_id: user && (await userId(client, user)),
		action,
		outcome,
		since_ms: since?.toString(),
		until_ms: until?.toString(),
	};
	return Object.fromEntries(Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** As many pages as it takes. */
async function listEvents(client: AdminClient, query: Record<string, string>, limit: number) {
	const events: AuditEvent[] = [];
	for (;;) {
		const page = new URLSearchParams({ ...query, limit: String(Math.min(maxPage, limit - events.length)) });
		const last = events.at(-1);
		if (last) page.set("starting_after", last.id);
		const answer = await client.call<{ audit_events: AuditEvent[]; has_more: boolean }>(
			"GET",
			`/v1/audit_events?${page}`,
		);
		events.push(...answer.audit_events);
		if (!answer.has_more || events.length >= limit) return { audit_events: events, has_more: answer.has_more };
	}
}

async function userNames(client: AdminClient): Promise<ReadonlyMap<string, string>> {
	const { users } = await client.call<{ users: Named[] }>("GET", "/v1/admin/users");
	return new Map(users.map(({ id, name }) => [id, name]));
}

function toRow(event: AuditEvent, names: ReadonlyMap<string, string>): Row {
	const { user_id, duration_ms, details } = event;
	return {
		...event,
		user: user_id === null ? null : (names.get(user_id) ?? user_id),
		duration: duration_ms === null ? null : `${(duration_ms / 1000).toFixed(1)}s`,
		details: JSON.stringify(details),
	};
}

const unitMs = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function toTime(text: string): number {
	const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
	const time = count && unit ? Date.now() - Number(count) * unitMs[unit as keyof typeof unitMs] : Date.parse(text);
	if (time >= 0) return time;
	throw new InvalidArgumentError("Give a time such as 2026-01-31T08:00Z, or how long ago it was: 15m, 24h, 7d.");
}

function toCount(text: string): number {
	const count = Number(text);
	if (Number.isSafeInteger(count) && count > 0) return count;
	throw new InvalidArgumentError("Give a whole number from 1 on.");
}
