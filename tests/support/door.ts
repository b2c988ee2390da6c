import type { LookupFunction } from "node:net";
import type { CreateParams } from "./box.js";
import type { Daemon } from "./daemon.js";

export interface ShareLink {
	readonly id: string;
	readonly url: string;
}

/** A devbox seen through its tunnel. Its daemon's `remove` takes it along. */
export class Door {
	private constructor(
		readonly daemon: Daemon,
		readonly id: string,
		readonly key: string,
		/** Empty when the tunnel is open. */
		readonly token: string,
	) {}

	/** Resolves once the devbox runs. `params` enable the tunnel. */
	static async of(daemon: Daemon, params: CreateParams): Promise<Door> {
		const { id, tunnel } = await daemon.sdk().api.devboxes.createAndAwaitRunning(params);
		return new Door(daemon, id, tunnel!.tunnel_key, tunnel!.auth_token ?? "");
	}

	url(path = "/echo", port = 8080): string {
		return this.daemon.tunnelUrl(this.key, port, path);
	}

	secureUrl(path = "/echo", port = 8080): string {
		return `https://${this.host(port)}:${this.daemon.endpoints.tls_port}${path}`;
	}

	host(port = 8080): string {
		return `${port}-${this.key}.tunnel.${this.daemon.endpoints.domain}`;
	}

	/** For curl. */
	get credential(): readonly string[] {
		return ["-H", `Authorization: Bearer ${this.token}`];
	}

	async status(): Promise<string> {
		return (await this.daemon.sdk().api.devboxes.retrieve(this.id)).status;
	}

	/** A link that lets its holder in to one port. */
	share(params: { readonly port: number; readonly path?: string }): Promise<ShareLink> {
		const body = { expires_in_seconds: 600, ...params };
		return this.daemon.sdk().api.post<unknown, ShareLink>(this.#shareLinks, { body });
	}

	async unshare(linkId: string): Promise<void> {
		await this.daemon.sdk().api.delete(`${this.#shareLinks}/${linkId}`);
	}

	get #shareLinks(): string {
		return `/v1/devboxes/${this.id}/tunnel/share_links`;
	}

	/** Resolves once it is suspended. */
	async suspend(): Promise<void> {
		const { devboxes } = this.daemon.sdk().api;
		await devboxes.suspend(this.id);
		await devboxes.awaitSuspended(this.id);
	}

	/** Resolves once it runs. */
	async resume(): Promise<void> {
		const { devboxes } = this.daemon.sdk().api;
		await devboxes.resume(this.id);
		await devboxes.awaitRunning(this.id);
	}

	async shutdown(): Promise<void> {
		await this.daemon.sdk().api.devboxes.shutdown(this.id);
	}
}

/** `*.localhost` is known to curl and to browsers only: other clients take this as their `lookup`. */
export const lookup: LookupFunction = (_host, options, found) => {
	if (options.all) found(null, [{ address: "127.0.0.1", family: 4 }]);
	else found(null, "127.0.0.1", 4);
};
