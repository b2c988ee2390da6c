import type { Duplex } from "node:stream";
import { setTimeout } from "node:timers/promises";
import type { TunnelDirectory, TunnelTarget } from "../devboxes/index.js";
import { UnavailableError } from "../errors.js";
import type { LocalResponse, UpstreamFailure } from "./decision.js";
import { failureNotice, isFresh } from "./failures.js";
import * as notices from "./notices.js";
import { type Loopback, Ports } from "./ports.js";
import type { MaybePromise, Visit } from "./visit.js";
import { type WaitOutcome, Waits, type WaitsOptions } from "./waits.js";

export interface ReadinessOptions extends WaitsOptions {
	readonly directory: TunnelDirectory;
	/** Default: none, so `loopbackPorts` are ports like any other. */
	readonly loopback?: Loopback | undefined;
	/** The longest that a request is held, from its arrival. Default: 30 s. */
	readonly holdMs?: number;
	/** Epoch ms. */
	readonly now: () => number;
}

/** A box that can be connected to. */
export interface Ready {
	readonly kind: "ready";
	readonly address: string;
	/** Where the port is reached by another way than its address. */
	readonly dial: (() => Duplex) | undefined;
}

/** The request was held. Much may have changed meanwhile: it is to be decided anew, from the start. */
export interface Waited {
	readonly kind: "waited";
	/** It is not held any longer than this: `performance.now()`. */
	readonly untilMs: number;
}

/** Between two looks whether a port accepts connections by now. */
const probeIntervalMs = 100;

/** Sees to it that an admitted request finds its box running and its port listening: wakes, holds, or says why not. */
export class Readiness {
	readonly #directory: TunnelDirectory;
	readonly #ports: Ports;
	readonly #waits: Waits;
	readonly #holdMs: number;
	readonly #now: () => number;

	constructor({ directory, loopback, holdMs = 30_000, now, ...limits }: ReadinessOptions) {
		this.#directory = directory;
		this.#ports = new Ports(loopback);
		this.#waits = new Waits(limits);
		this.#holdMs = holdMs;
		this.#now = now;
	}

	/** Looks nothing up where a port's way is plain and its box has run for a while: that is nearly always. */
	check(visit: Visit): MaybePromise<Ready | Waited | LocalResponse> {
		const { target, port } = visit;
		const { address } = target;
		if (target.status !== "running" || address === null) return this.#absent(visit);
		const held = isHeld(visit) && isFresh(target, this.#now());
		if (!held && !target.loopbackPorts.includes(port)) return { kind: "ready", address, dial: undefined };
		const way = this.#ports.known(target, port);
		if (way !== undefined) return { kind: "ready", address, dial: this.#ports.dialer(target, port, way) };
		return held ? this.#awaitPort(visit) : this.#findWay(visit);
	}

	/** A port that refuses may be reached by another way by now. */
	failed({ target, port }: Visit, failure: UpstreamFailure): void {
		if (failure === "refused") this.#ports.forget(target, port);
	}

	#absent(visit: Visit): MaybePromise<Waited | LocalResponse> {
		const { target } = visit;
		const { devboxId } = target;
		if (isHeld(visit) && target.status !== "failure" && target.status !== "shutdown") {
			const running = (signal: AbortSignal) => this.#directory.awaitRunning(devboxId, signal);
			return this.#wait(visit, devboxId, running, notices.starting);
		}
		if (target.status === "suspended" && target.wakes) this.#directory.wake(devboxId);
		return visit.say(absence(target));
	}

	#awaitPort(visit: Visit): Promise<Waited | LocalResponse> {
		const { target, port } = visit;
		const accepting = (signal: AbortSignal) => this.#accepting(target, port, signal);
		return this.#wait(visit, `${target.devboxId} ${port} accepts`, accepting, notices.portStarting(port));
	}

	#findWay(visit: Visit): Promise<Waited | LocalResponse> {
		const { target, port } = visit;
		const found = async (signal: AbortSignal) => {
			if (!(await this.#ports.probe(target, port, signal))) throw new UnavailableError("nothing listens");
		};
		const otherwise = failureNotice("refused", port, target, this.#now());
		return this.#wait(visit, `${target.devboxId} ${port}`, found, otherwise);
	}

	async #wait(
		visit: Visit,
		key: string,
		work: (signal: AbortSignal) => Promise<unknown>,
		otherwise: notices.Notice,
	): Promise<Waited | LocalResponse> {
		const { request, target, heldUntilMs: untilMs = performance.now() + this.#holdMs } = visit;
		const waiter = { tunnelKey: target.key, untilMs, onGone: (listener: () => void) => request.onGone(listener) };
		const outcome: WaitOutcome = await this.#waits.join(key, waiter, work);
		if (outcome === "over") return { kind: "waited", untilMs };
		return visit.say(outcome === "busy" ? notices.tooManyWaiting : otherwise);
	}

	/** Resolves when the port accepts connections, or when anything about the devbox or its tunnel is no longer as it was. */
	async #accepting(target: TunnelTarget, port: number, signal: AbortSignal): Promise<void> {
		while ((await this.#directory.lookup(target.key)) === target) {
			if (await this.#ports.probe(target, port, signal)) return;
			await setTimeout(probeIntervalMs, undefined, { signal });
		}
	}
}

/** Only who may wake a box is held. A browser does not retry a WebSocket or an event stream that got a 503, not by itself. */
function isHeld({ target, request }: Visit): boolean {
	if (!target.wakes) return false;
	return (
		target.wakeMode === "hold" || request.upgrade || /\btext\/event-stream\b/i.test(request.header("accept") ?? "")
	);
}

/** Why a box that does not run cannot answer. */
function absence(target: TunnelTarget): notices.Notice {
	switch (target.status) {
		case "suspended":
		case "suspending":
			return target.wakes ? notices.starting : notices.suspended;
		case "failure":
		case "shutdown":
			return notices.notFound;
		default:
			return notices.starting;
	}
}
