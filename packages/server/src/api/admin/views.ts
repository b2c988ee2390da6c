/** What the admin API shows: schemas for the documentation, and the functions that make them. */
import { type Static, Type } from "typebox";
import { type ApiKeyInfo, type Member, roles, type Team, type User } from "../../accounts/index.js";
import { choice, nullable, strictObject } from "../schema.js";

export const role = choice(roles, {
	description: "viewer: see devboxes. member: use and enter them too. admin: administer the team as well.",
});

export const userView = strictObject(
	{ id: Type.String(), name: Type.String(), create_time_ms: Type.Integer() },
	{ $id: "User", examples: [{ id: "usr_01k6m3v9q7x8y2z4a5b6c7d8e9", name: "ann", create_time_ms: 1_760_000_000_000 }] },
);

export const teamView = strictObject(
	{
		id: Type.String(),
		name: Type.String(),
		passthrough_enabled: Type.Boolean({ description: "Whether its devboxes are reached through the passthrough." }),
		create_time_ms: Type.Integer(),
	},
	{ $id: "Team" },
);

export const memberView = strictObject(
	{ user_id: Type.String(), name: Type.String(), role, create_time_ms: Type.Integer() },
	{ $id: "Member" },
);

const apiKeyFields = {
	id: Type.String(),
	name: Type.String(),
	user_id: Type.String(),
	create_time_ms: Type.Integer(),
	revoke_time_ms: nullable(Type.Integer()),
};

export const apiKeyView = strictObject(apiKeyFields, { $id: "ApiKey" });

export const newApiKeyView = strictObject(
	{ ...apiKeyFields, key: Type.String({ description: "A secret, shown this once." }) },
	{ $id: "NewApiKey" },
);

export const userListView = strictObject({ users: Type.Array(userView) }, { $id: "UserList" });
export const teamListView = strictObject({ teams: Type.Array(teamView) }, { $id: "TeamList" });
export const memberListView = strictObject({ members: Type.Array(memberView) }, { $id: "MemberList" });
export const apiKeyListView = strictObject(
	{ api_keys: Type.Array(apiKeyView, { description: "Revoked ones too, oldest first." }) },
	{ $id: "ApiKeyList" },
);

export const adminViews = [
	userView,
	teamView,
	memberView,
	apiKeyView,
	newApiKeyView,
	userListView,
	teamListView,
	memberListView,
	apiKeyListView,
];

export function toUserView({ id, name, createdAtMs }: User): Static<typeof userView> {
	return { id, name, create_time_ms: createdAtMs };
}

export function toTeamView(team: Team): Static<typeof teamView> {
	const { id, name, passthroughEnabled, createdAtMs } = team;
	return { id, name, passthrough_enabled: passthroughEnabled, create_time_ms: createdAtMs };
}

export function toMemberView(member: Member): Static<typeof memberView> {
	return { user_id: member.userId, name: member.name, role: member.role, create_time_ms: member.createdAtMs };
}

export function toApiKeyView(key: ApiKeyInfo): Static<typeof apiKeyView> {
	return {
		id: key.id,
		name: key.name,
		user_id: key.userId,
		create_time_ms: key.createdAtMs,
		revoke_time_ms: key.revokedAtMs,
	};
}

export function toNewApiKeyView(key: ApiKeyInfo & { readonly key: string }): Static<typeof newApiKeyView> {
	return { ...toApiKeyView(key), key: key.key };
}
