/** What has happened, for admins. In the ways of the Runloop dialect. */
import { type Static, Type } from "typebox";
import { type AuditRecord, auditOutcomes } from "../../audit/index.js";
import { type App, actorOf } from "../request.js";
import { routeSchema } from "../route-schema.js";
import { choice, mapOf, nullable, strictObject } from "../schema.js";
import type { AdministrationService, AuditService } from "../services.js";

const outcome = choice(auditOutcomes);

const auditEventView = strictObject(
	{
		id: Type.String(),
		at_ms: Type.Integer({ description: "When it happened; of what lasted, when it ended." }),
		action: Type.String(),
		outcome,
		team_id: nullable(Type.String()),
		user_id: nullable(Type.String({ description: "Who did it; null where that is not known, or was Gangway itself." })),
		api_key_id: nullable(Type.String({ description: "The API key that it was done with." })),
		ssh_key_id: nullable(Type.String({ description: "The uploaded SSH key that it was done with." })),
		devbox_id: nullable(Type.String()),
		peer_address: nullable(Type.String({ description: "IP address that it came from." })),
		duration_ms: nullable(Type.Integer()),
		details: mapOf(Type.Unknown(), { description: "More about it, by action. Never a secret." }),
	},
	{
		$id: "AuditEvent",
		examples: [
			{
				id: "aud_01k6m3v9q7x8y2z4a5b6c7d8e9",
				at_ms: 1_760_000_000_000,
				action: "passthrough.session",
				outcome: "ok",
				team_id: "team_01k6m3v9q7x8y2z4a5b6c7d8e9",
				user_id: null,
				api_key_id: null,
				ssh_key_id: null,
				devbox_id: "dbx_01k6m3v9q7x8y2z4a5b6c7d8e9",
				peer_address: "192.0.2.7",
				duration_ms: 61_250,
				details: { bytes: 48_213 },
			},
		],
	},
);

const auditEventListView = strictObject(
	{ audit_events: Type.Array(auditEventView), has_more: Type.Boolean() },
	{ $id: "AuditEventList" },
);

export const auditViews = [auditEventView, auditEventListView];

const defaultPageSize = 100;

const querystring = strictObject({
	limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, description: `Default: ${defaultPageSize}.` })),
	starting_after: Type.Optional(Type.String({ description: "The id of the last event of the page before." })),
	team_id: Type.Optional(Type.String({ description: "For admins of the first team. Default: every team, and none." })),
	devbox_id: Type.Optional(Type.String()),
	user_id: Type.Optional(Type.String({ description: "Who did it." })),
	action: Type.Optional(
		Type.String({ description: "One, or what stands before its dot: ssh is all that begins with ssh." }),
	),
	outcome: Type.Optional(outcome),
	since_ms: Type.Optional(Type.Integer({ minimum: 0, description: "From this time on, in ms since 1970." })),
	until_ms: Type.Optional(Type.Integer({ minimum: 0, description: "Before this time." })),
});

export function auditRoutes(app: App, audit: AuditService, administration: AdministrationService): void {
	app.get(
		"/v1/audit_events",
		{
			config: { action: "administer" },
			schema: routeSchema({
				tag: "administration",
				operationId: "listAuditEvents",
				summary: "List what has happened, newest first",
				description: "SSH sessions, changes of keys, tunnels and members, and what was denied.",
				querystring,
				response: auditEventListView,
			}),
		},
		async (request) => {
			const {
				limit = defaultPageSize,
				starting_after,
				team_id,
				devbox_id,
				user_id,
				since_ms,
				until_ms,
			} = request.query;
			const { events, hasMore } = await audit.list({
				limit,
				startingAfter: starting_after,
				teamId: administration.auditedTeam(actorOf(request), team_id),
				devboxId: devbox_id,
				userId: user_id,
				action: request.query.action,
				outcome: request.query.outcome,
				sinceMs: since_ms,
				untilMs: until_ms,
			});
			return { audit_events: events.map(toAuditEventView), has_more: hasMore };
		},
	);
}

function toAuditEventView(event: AuditRecord): Static<typeof auditEventView> {
	return {
		id: event.id,
		at_ms: event.atMs,
		action: event.action,
		outcome: event.outcome,
		team_id: event.teamId,
		user_id: event.userId,
		api_key_id: event.apiKeyId,
		ssh_key_id: event.sshKeyId,
		devbox_id: event.devboxId,
		peer_address: event.peerAddress,
		duration_ms: event.durationMs,
		details: event.details,
	};
}
