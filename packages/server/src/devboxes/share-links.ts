import type { Logger } from "pino";
import type { AuditSink } from "../audit/index.js";
import { ConflictError, InvalidError, NotFoundError } from "../errors.js";
import type { Actor, Devbox, NewShareLink, ShareLinkParams, Tunnel } from "./devbox.js";
import { maxTimerMs } from "./idle.js";
import { newShareLinkId } from "./ids.js";
import { isEnded } from "./lifecycle.js";
import type { Passes } from "./passes.js";
import type { DevboxRepository } from "./repository.js";
import { checkPort } from "./tunnels.js";

interface ShareLinksOptions {
	readonly repository: DevboxRepository;
	readonly passes: Passes;
	readonly audit: AuditSink;
	readonly log: Logger;
}

/** Of one tunnel at a time. */
const maxLinks = 100;
const minSeconds = 60;
/** A year. */
const maxSeconds = 31_536_000;
const maxPathBytes = 2048;
/** RFC 3986, 3.3 and 3.4. It becomes the target of a redirect, where `//` and `/\` would begin the name of another host. */
const originForm = /^\/(?!\/)(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*$/;
/** How long after a failure of the store the expired links are looked for again. */
const retryMs = 60_000;

/** The share links of all tunnels: making, deleting, and ending them when their time is over. */
export class ShareLinks {
	readonly #options: ShareLinksOptions;
	/** One timer, for the link that expires first. */
	#timer: NodeJS.Timeout | undefined;
	#dueMs = Number.POSITIVE_INFINITY;
	#closed = false;

	constructor(options: ShareLinksOptions) {
		this.#options = options;
	}

	async create(actor: Actor, devboxId: string, params: ShareLinkParams): Promise<NewShareLink> {
		checkShareLinkParams(params);
		const { port, path, expiresInSeconds } = params;
		const createdAtMs = Date.now();
		const expiresAtMs = createdAtMs + expiresInSeconds * 1000;
		const link = { id: newShareLinkId(), port, path, createdAtMs, expiresAtMs };
		const { repository, passes, audit, log } = this.#options;
		const { key: tunnelKey, generation } = await repository.addShareLink(devboxId, link, actor.userId, admitting);
		this.#arm(expiresAtMs);
		log.info({ devboxId, shareLinkId: link.id, apiKeyId: actor.apiKeyId, userId: actor.userId }, "share link created");
		// Not the path: its query may hold what nobody else is to see.
		const details = { share_link_id: link.id, port, expires_at_ms: expiresAtMs };
		await audit.write({ action: "share_link.created", actor, devboxId, details });
		const token = passes.sign("link", { tunnelKey, generation, port, shareLinkId: link.id, expiresAtMs });
		return { ...link, tunnelKey, token };
	}

	/** Throws `NotFoundError`. */
	async delete(actor: Actor, devboxId: string, shareLinkId: string): Promise<void> {
		const { repository, audit, log } = this.#options;
		const removed = await repository.removeShareLink(devboxId, shareLinkId);
		if (!removed) throw new NotFoundError(`share link ${shareLinkId}`);
		log.info({ devboxId, shareLinkId, apiKeyId: actor.apiKeyId, userId: actor.userId }, "share link deleted");
		await audit.write({ action: "share_link.deleted", actor, devboxId, details: { share_link_id: shareLinkId } });
	}

	/** Ends the links whose time is over, and goes on to do so. Never rejects. */
	async endExpired(): Promise<void> {
		this.#dueMs = Number.POSITIVE_INFINITY;
		try {
			const nextMs = await this.#options.repository.removeExpiredShareLinks(Date.now());
			if (nextMs !== undefined) this.#arm(nextMs);
		} catch (error) {
			this.#options.log.error({ err: error }, "expired share links could not be ended");
			this.#arm(Date.now() + retryMs);
		}
	}

	close(): void {
		this.#closed = true;
		clearTimeout(this.#timer);
	}

	#arm(atMs: number): void {
		if (this.#closed || atMs >= this.#dueMs) return;
		clearTimeout(this.#timer);
		this.#dueMs = atMs;
		const waitMs = Math.min(maxTimerMs, Math.max(0, atMs - Date.now()));
		this.#timer = setTimeout(() => void this.endExpired(), waitMs);
		this.#timer.unref();
	}
}

/** The tunnel that a link is for; throws `ConflictError` when there can be none. */
function admitting({ id, status, tunnel }: Devbox): Tunnel {
	if (!tunnel || isEnded(status)) throw new ConflictError(`devbox ${id} has no tunnel: enable one first`);
	if (tunnel.authMode === "open") {
		throw new ConflictError(`the tunnel of devbox ${id} is open: its URL needs no share link`);
	}
	if (tunnel.shareLinks.length >= maxLinks) {
		throw new ConflictError(`the tunnel of devbox ${id} has ${maxLinks} share links: delete one first`);
	}
	return tunnel;
}

function checkShareLinkParams({ port, path, expiresInSeconds }: ShareLinkParams): void {
	checkPort("port", port);
	if (!originForm.test(path)) {
		throw new InvalidError("path", "must begin with one / and be percent-encoded, a path and perhaps a query");
	}
	if (/[?&]gangway_/.test(path)) {
		throw new InvalidError(
			"path",
			"must have no parameter whose name begins with gangway_: it would be taken for the link's own",
		);
	}
	if (path.length > maxPathBytes) throw new InvalidError("path", `must have at most ${maxPathBytes} bytes`);
	if (!Number.isInteger(expiresInSeconds) || expiresInSeconds < minSeconds || expiresInSeconds > maxSeconds) {
		throw new InvalidError("expires_in_seconds", `must be from ${minSeconds} to ${maxSeconds}, which is a year`);
	}
}
