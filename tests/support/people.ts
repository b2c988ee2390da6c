import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { adminApiKey, type Daemon } from "./daemon.js";
import { makeKey, uploadKey } from "./ssh.js";

/** A user of a daemon, with an API key and an SSH key. */
export interface Person {
	readonly userId: string;
	readonly teamId: string;
	readonly apiKey: string;
	readonly sshKeyId: string;
	readonly keyFile: string;
}

export type Role = "admin" | "member" | "viewer";

/** A call of the API; throws unless it is answered with 2xx. */
export async function call(
	daemon: Daemon,
	method: "GET" | "POST" | "DELETE",
	path: string,
	options: { readonly body?: object; readonly apiKey?: string } = {},
	// biome-ignore lint/suspicious/noExplicitAny: as JSON.parse() has it
): Promise<any> {
	const { body, apiKey = adminApiKey } = options;
	const response = await fetch(`http://127.0.0.1:${daemon.endpoints.http_port}${path}`, {
		method,
		headers: { authorization: `Bearer ${apiKey}`, ...(body && { "content-type": "application/json" }) },
		...(body && { body: JSON.stringify(body) }),
	});
	if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
	return response.status === 204 ? undefined : response.json();
}

/** Somebody in the team of the first API key, or in a new team of their own. */
export async function person(
	daemon: Daemon,
	name: string,
	{ role = "member", own = false }: { readonly role?: Role; readonly own?: boolean } = {},
): Promise<Person> {
	const post = (path: string, body: object) => call(daemon, "POST", `/v1/admin${path}`, { body });
	const { id: userId } = await post("/users", { name });
	const team = own
		? await post("/teams", { name: `of-${name}` })
		: (await call(daemon, "GET", "/v1/admin/teams")).teams[0];
	await post(`/teams/${team.id}/members`, { user_id: userId, role });
	const { key: apiKey } = await post(`/teams/${team.id}/api_keys`, { user_id: userId, name: "test" });
	const keyFile = await makeKey(await mkdtemp(join(daemon.dataDir, "person-")));
	return { userId, teamId: team.id, apiKey, sshKeyId: await uploadKey(daemon, `${keyFile}.pub`, apiKey), keyFile };
}
