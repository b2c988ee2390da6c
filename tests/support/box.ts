import type Runloop from "@runloop/api-client";
import type { Daemon } from "./daemon.js";
import { SshClient } from "./ssh.js";

export type CreateParams = Runloop.DevboxCreateParams;
type View = Runloop.DevboxView;

/** A devbox as its user has it: an id, the API, and SSH. Its daemon's `remove` takes it along. */
export class Box {
	readonly id: string;
	readonly ssh: SshClient;
	readonly #daemon: Daemon;

	private constructor(daemon: Daemon, id: string, ssh: SshClient) {
		this.#daemon = daemon;
		this.id = id;
		this.ssh = ssh;
	}

	/** Resolves once it runs; rejects when it fails. */
	static async create(daemon: Daemon, params: CreateParams = {}): Promise<Box> {
		const { id } = await daemon.sdk().api.devboxes.createAndAwaitRunning(params);
		return new Box(daemon, id, await SshClient.for(daemon, id));
	}

	/** Of a box that comes to another end than running. */
	static async createAndAwait(daemon: Daemon, status: View["status"], params: CreateParams): Promise<View> {
		const { id } = await daemon.sdk().api.devboxes.create(params);
		return awaitStatus(daemon, id, status);
	}

	view(): Promise<View> {
		return this.#devboxes.retrieve(this.id);
	}

	awaitStatus(status: View["status"]): Promise<View> {
		return awaitStatus(this.#daemon, this.id, status);
	}

	/** Resolves once it is suspended. */
	async suspend(): Promise<View> {
		await this.#devboxes.suspend(this.id);
		return this.awaitStatus("suspended");
	}

	/** Resolves once it runs, or is suspended again because that failed. */
	async resume(): Promise<View> {
		await this.#devboxes.resume(this.id);
		return this.#daemon.sdk().api.post<unknown, View>(`/v1/devboxes/${this.id}/wait_for_status`, {
			body: { statuses: ["running", "suspended"] },
		});
	}

	/** Lines that its commands printed, and `exit <code>` where they ended. */
	log(): Promise<string[]> {
		return logOf(this.#daemon, this.id);
	}

	/** IPv4 address in the box's network. */
	address(): Promise<string> {
		return this.ssh.out("hostname -I | tr -d ' '");
	}

	get #devboxes(): Runloop.Devboxes {
		return this.#daemon.sdk().api.devboxes;
	}
}

/** Lines that a devbox's commands printed, and `exit <code>` where they ended. */
export async function logOf(daemon: Daemon, id: string): Promise<string[]> {
	const { logs } = await daemon.sdk().api.devboxes.logs.list(id);
	return logs.flatMap(({ message, exit_code }) => [
		...(typeof message === "string" ? [message] : []),
		...(typeof exit_code === "number" ? [`exit ${exit_code}`] : []),
	]);
}

function awaitStatus(daemon: Daemon, id: string, status: View["status"]): Promise<View> {
	return daemon.sdk().api.post<unknown, View>(`/v1/devboxes/${id}/wait_for_status`, { body: { statuses: [status] } });
}
