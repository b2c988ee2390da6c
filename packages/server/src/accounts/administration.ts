import type { AuditAction, AuditDetails, AuditSink } from "../audit/index.js";
import { ConflictError, ForbiddenError, NotFoundError } from "../errors.js";
import type { Accounts, ApiKeyInfo } from "./accounts.js";
import type { Bootstrap } from "./bootstrap.js";
import { demand, type Principal, type Role } from "./roles.js";
import type { Member, Team } from "./teams.js";
import type { User } from "./users.js";

/** The team of the first start, whose admins are the installation's, and its first user. */
type Home = Pick<Bootstrap, "teamId" | "userId">;

/**
 * What admins do. An admin of a team administers that team: its settings, members and API keys. An admin of the first
 * team, the installation's, administers all teams, and is the only one to make and delete users and teams. A team that
 * is not one's own does not exist.
 */
export class Administration {
	readonly #accounts: Accounts;
	readonly #audit: AuditSink;
	readonly #home: () => Home | undefined;

	constructor(accounts: Accounts, audit: AuditSink, home: () => Home | undefined) {
		this.#accounts = accounts;
		this.#audit = audit;
		this.#home = home;
	}

	async createUser(principal: Principal, name: string): Promise<User> {
		this.#demandInstallation(principal);
		const user = await this.#accounts.users.create(name);
		await this.#record("user.created", principal, undefined, { user_id: user.id, name });
		return user;
	}

	/** All of them for the installation's admins, those of the team for a team's. */
	async listUsers(principal: Principal): Promise<User[]> {
		demand(principal, "administer");
		return this.#accounts.users.list(this.#isInstallations(principal) ? undefined : principal.teamId);
	}

	async getUser(principal: Principal, id: string): Promise<User> {
		const user = (await this.listUsers(principal)).find((found) => found.id === id);
		if (!user) throw new NotFoundError("user");
		return user;
	}

	async renameUser(principal: Principal, id: string, name: string): Promise<User> {
		this.#demandInstallation(principal);
		const user = await this.#accounts.users.rename(id, name);
		await this.#record("user.changed", principal, undefined, { user_id: id, name });
		return user;
	}

	async deleteUser(principal: Principal, id: string): Promise<void> {
		this.#demandInstallation(principal);
		if (id === this.#home()?.userId) throw new ConflictError("the installation's first user cannot be deleted");
		await this.#accounts.users.delete(id);
		await this.#record("user.deleted", principal, undefined, { user_id: id });
	}

	async createTeam(principal: Principal, name: string): Promise<Team> {
		this.#demandInstallation(principal);
		const team = await this.#accounts.teams.create(name);
		await this.#record("team.created", principal, team.id, { name });
		return team;
	}

	/** Those that the principal administers. */
	async listTeams(principal: Principal): Promise<Team[]> {
		demand(principal, "administer");
		if (this.#isInstallations(principal)) return this.#accounts.teams.list();
		return [await this.#accounts.teams.get(principal.teamId)];
	}

	async getTeam(principal: Principal, id: string): Promise<Team> {
		this.#demandTeam(principal, id);
		return this.#accounts.teams.get(id);
	}

	async updateTeam(
		principal: Principal,
		id: string,
		change: { readonly name?: string; readonly passthroughEnabled?: boolean },
	): Promise<Team> {
		this.#demandTeam(principal, id);
		const team = await this.#accounts.teams.update(id, change);
		const { name, passthroughEnabled } = change;
		await this.#record("team.changed", principal, id, { name, passthrough_enabled: passthroughEnabled });
		return team;
	}

	async deleteTeam(principal: Principal, id: string): Promise<void> {
		this.#demandInstallation(principal);
		if (id === this.#home()?.teamId) throw new ConflictError("the installation's first team cannot be deleted");
		await this.#accounts.teams.delete(id);
		await this.#record("team.deleted", principal, id, {});
	}

	async listMembers(principal: Principal, teamId: string): Promise<Member[]> {
		this.#demandTeam(principal, teamId);
		return this.#accounts.teams.members(teamId);
	}

	async addMember(principal: Principal, teamId: string, userId: string, role: Role): Promise<Member> {
		this.#demandTeam(principal, teamId);
		const member = await this.#accounts.teams.addMember(teamId, userId, role);
		await this.#record("member.added", principal, teamId, { user_id: userId, role });
		return member;
	}

	async setRole(principal: Principal, teamId: string, userId: string, role: Role): Promise<Member> {
		this.#demandTeam(principal, teamId);
		if (role !== "admin") this.#keepFirstAdmin(teamId, userId);
		const member = await this.#accounts.teams.setRole(teamId, userId, role);
		await this.#record("member.changed", principal, teamId, { user_id: userId, role });
		return member;
	}

	async removeMember(principal: Principal, teamId: string, userId: string): Promise<void> {
		this.#demandTeam(principal, teamId);
		this.#keepFirstAdmin(teamId, userId);
		await this.#accounts.teams.removeMember(teamId, userId);
		await this.#record("member.removed", principal, teamId, { user_id: userId });
	}

	/**
	 * A key acts as its user, who uploads SSH keys that open all teams of theirs: who had a key made for somebody else could
	 * enter those. So a team's admins make keys for themselves only, the installation's for everybody.
	 */
	async createApiKey(
		principal: Principal,
		teamId: string,
		params: { readonly userId: string; readonly name: string },
	): Promise<ApiKeyInfo & { readonly key: string }> {
		this.#demandTeam(principal, teamId);
		if (params.userId !== principal.userId && !this.#isInstallations(principal)) {
			throw new ForbiddenError("an admin of the first team makes API keys for others, you only for yourself");
		}
		const key = await this.#accounts.createApiKey({ teamId, ...params });
		await this.#record("api_key.created", principal, teamId, { api_key_id: key.id, user_id: params.userId });
		return key;
	}

	async listApiKeys(principal: Principal, teamId: string): Promise<ApiKeyInfo[]> {
		this.#demandTeam(principal, teamId);
		await this.#accounts.teams.get(teamId);
		return this.#accounts.listApiKeys(teamId);
	}

	async revokeApiKey(principal: Principal, teamId: string, id: string): Promise<void> {
		this.#demandTeam(principal, teamId);
		await this.#accounts.revokeApiKey(teamId, id);
		await this.#record("api_key.revoked", principal, teamId, { api_key_id: id });
	}

	/** Whose audit events the principal reads who asks for a team's, or for all: undefined is everybody's. */
	auditedTeam(principal: Principal, teamId?: string): string | undefined {
		this.#demandTeam(principal, teamId ?? principal.teamId);
		if (teamId !== undefined) return teamId;
		return this.#isInstallations(principal) ? undefined : principal.teamId;
	}

	/** Users belong to the installation, and so to the principal's team, its first. */
	#record(action: AuditAction, actor: Principal, teamId: string | undefined, details: AuditDetails): Promise<void> {
		return this.#audit.write({ action, actor, teamId, details });
	}

	#isInstallations(principal: Principal): boolean {
		return principal.teamId === this.#home()?.teamId;
	}

	#demandInstallation(principal: Principal): void {
		demand(principal, "administer");
		if (!this.#isInstallations(principal)) throw new ForbiddenError("this needs an admin of the first team");
	}

	#demandTeam(principal: Principal, teamId: string): void {
		demand(principal, "administer");
		if (teamId !== principal.teamId && !this.#isInstallations(principal)) throw new NotFoundError("team");
	}

	/** The key of the settings is this user's: without it nobody could put things right. */
	#keepFirstAdmin(teamId: string, userId: string): void {
		const home = this.#home();
		if (teamId === home?.teamId && userId === home.userId) {
			throw new ConflictError("the installation's first user stays admin of its first team");
		}
	}
}
