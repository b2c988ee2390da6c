import { createHmac } from "node:crypto";
import type { Logger } from "pino";
import { authorizedKeys, bootFiles, type ConsoleItem, ConsoleParser, type Report } from "../runtime/init/index.js";
import type { Attachment, BoxSpec, Exit, Runtime } from "../runtime/runtime.js";
import type { DevboxRow } from "../store/devboxes.js";
import type { LaunchParameters, LogEntry } from "./devbox.js";
import { issueHostCertificate } from "./host-certificate.js";
import { labelOf } from "./ids.js";
import type { KeyPair } from "./keys.js";
import { type FailureReason, isStarting, type ShutdownReason, type Status, statuses } from "./lifecycle.js";
import { KeyedLock } from "./locks.js";
import type { DevboxLogs } from "./logs.js";
import { boxLimits, defaultUser } from "./params.js";
import type { DevboxRepository } from "./repository.js";

export interface SupervisorOptions {
	readonly runtime: Runtime;
	readonly repository: DevboxRepository;
	readonly logs: DevboxLogs;
	readonly log: Logger;
	readonly hostCa: KeyPair;
	/** `dbx-….ssh.<domain>` is a box's host name. */
	readonly sshDomain: string;
	/** 32 secret bytes. */
	readonly nonceKey: Buffer;
	/** Milliseconds until an operation that failed is tried again. Default: 5000. */
	readonly retryMs?: number;
}

type Operation = "start" | "suspend" | "destroy" | "recover" | "authorize";

/** A box that runs, as this process follows it. */
interface Run {
	readonly address: string;
	readonly attachment: Attachment;
	/** What its console has said so far has been dealt with. */
	readonly settled: () => Promise<unknown>;
	/** Its process tree has ended and all it printed has been dealt with. */
	readonly finished: Promise<Exit>;
	entrypointExit: number | undefined;
}

/** How long processes get between SIGTERM and SIGKILL at a suspend; the init script uses up to 2 s of it by itself. */
const stopGraceMs = 4000;
const defaultSuspendDeadlineMs = 30_000;
/** What a shell says of a process that SIGKILL ended. */
const killedExit = 128 + 9;
/** Lines of a box's console that go to its log: so many at once, and so many a second after that. */
const lineBurst = 50_000;
const linesPerSecond = 1_000;
const notShutDown = statuses.filter((status) => status !== "shutdown");

/**
 * Brings boxes to what the store says they shall be, and the store to what became of them. Operations on one box's
 * runtime run one after another; which of two competing operations wins is decided by the compare-and-set of its status.
 */
export class Supervisor {
	readonly #options: SupervisorOptions;
	readonly #locks = new KeyedLock();
	readonly #runs = new Map<string, Run>();
	readonly #retries = new Set<NodeJS.Timeout>();
	#closed = false;

	constructor(options: SupervisorOptions) {
		this.#options = options;
	}

	/** IPv4 address of a box that runs. */
	address(devboxId: string): string | undefined {
		return this.#runs.get(devboxId)?.address;
	}

	/** Resolves when what the box has printed so far is in its log. */
	async settled(devboxId: string): Promise<void> {
		await this.#runs.get(devboxId)?.settled();
	}

	/** The store says `provisioning`, `initializing` or `resuming`: make it so. Never rejects. */
	start(devboxId: string): Promise<void> {
		return this.#locked(devboxId, "start", async () => {
			const row = await this.#options.repository.findRow(devboxId);
			if (!row || !isStarting(row.status as Status)) return;
			try {
				await this.#boot(row);
			} catch (error) {
				this.#options.log.error({ err: error, devboxId }, "a devbox could not be started");
				const full = isDiskFull(error);
				await this.#note(
					devboxId,
					"error",
					`the devbox could not be started${full ? ": the host's disk is full" : ""}`,
				);
				await this.#startFailed(row, full ? "out_of_disk" : "execution_failed");
			}
		});
	}

	/** The store says `suspending`: stop it. Never rejects. */
	suspend(devboxId: string): Promise<void> {
		return this.#locked(devboxId, "suspend", async () => {
			const row = await this.#options.repository.findRow(devboxId);
			if (row?.status !== "suspending") return;
			const hooks = launchOf(row).suspendHooks;
			const hooksMs = hooks ? hooks.deadlineMs : 0;
			await this.#options.runtime.stop(devboxId, { graceMs: stopGraceMs + hooksMs });
			await this.#runs.get(devboxId)?.finished;
			await this.#ended(devboxId);
			await this.#options.repository.transit(devboxId, ["suspending"], "suspended", { change: stoppedClock(row) });
		});
	}

	/** The store says `shutdown`: remove everything. Never rejects; what could not be removed is tried again. */
	destroy(devboxId: string): Promise<void> {
		return this.#locked(devboxId, "destroy", async () => {
			await this.#options.runtime.destroy(devboxId);
			await this.#ended(devboxId);
			await this.#options.repository.forgetSecrets(devboxId);
		});
	}

	/**
	 * The store has another key for the box: if it runs, it takes that one from now on and no other. Never rejects; false when
	 * it could not be done yet.
	 */
	async authorize(devboxId: string): Promise<boolean> {
		let done = false;
		await this.#locked(devboxId, "authorize", async () => {
			const { repository, runtime } = this.#options;
			const row = await repository.findRow(devboxId);
			if (row) await runtime.replaceBootFile(devboxId, authorizedKeys(row.ssh_public_key));
			repository.emit("keyRotated", devboxId);
			done = true;
		});
		return done;
	}

	/** Whatever it does, from any state. */
	async shutdown(devboxId: string, reason: ShutdownReason): Promise<boolean> {
		const row = await this.#options.repository.transit(devboxId, notShutDown, "shutdown", {
			change: {
				shutdown_reason: reason,
				ended_at_ms: Date.now(),
				running_since_ms: null,
				expires_at_ms: null,
				hard_expires_at_ms: null,
			},
		});
		return row !== undefined;
	}

	/**
	 * After a restart of the daemon: follows the box that still runs, or says what became of it meanwhile.
	 * Never rejects.
	 */
	recover(devboxId: string): Promise<void> {
		return this.#locked(devboxId, "recover", async () => {
			const row = await this.#options.repository.findRow(devboxId);
			if (!row || this.#runs.has(devboxId)) return;
			const state = await this.#options.runtime.inspect(devboxId);
			if (state.kind === "running") {
				await this.#follow(row, state.address);
				// The daemon may have died between storing a new key and bringing it there.
				queueMicrotask(() => void this.authorize(devboxId));
			} else if (row.status === "running") await this.#foundStopped(row, state.kind === "absent");
			else {
				// Half a first start: from the beginning, on a fresh disk, since launch commands may not bear a second run on this one.
				if (row.status === "initializing") await this.#options.runtime.destroy(devboxId);
				queueMicrotask(() => void this.start(devboxId));
			}
		});
	}

	/** Lets go of all boxes; they run on. */
	async close(): Promise<void> {
		this.#closed = true;
		for (const retry of this.#retries) clearTimeout(retry);
		await this.#locks.idle();
		for (const [devboxId, run] of this.#runs) {
			run.attachment.detach();
			await run.settled();
			await this.#options.logs.release(devboxId);
		}
		this.#runs.clear();
	}

	async #boot(row: DevboxRow): Promise<void> {
		const { repository, runtime } = this.#options;
		const spec = boxSpec(row);
		if (row.status !== "resuming") await runtime.create(spec);
		if (row.status === "provisioning" && !(await repository.transit(row.id, ["provisioning"], "initializing"))) return;
		const generation = row.generation + 1;
		await repository.update(row.id, { generation });
		const booting = { ...row, generation };
		const { address } = await runtime.start(spec, { files: await this.#bootFiles(booting) });
		await this.#follow(booting, address);
	}

	#bootFiles(row: DevboxRow) {
		const { repository, hostCa, sshDomain } = this.#options;
		const launch = launchOf(row);
		const user = launch.user ?? defaultUser;
		const secrets = repository.bootSecrets(row);
		const hostKey = repository.hostKey(row);
		return bootFiles({
			nonce: this.#nonce(row),
			user: user.username,
			uid: user.uid,
			firstStart: row.initialized === 0,
			environmentVariables: secrets.environmentVariables,
			files: secrets.files,
			launchCommands: launch.launchCommands ?? [],
			entrypoint: secrets.entrypoint,
			suspendCommands: launch.suspendHooks?.commands ?? [],
			suspendDeadlineMs: launch.suspendHooks?.deadlineMs ?? defaultSuspendDeadlineMs,
			authorizedKey: row.ssh_public_key,
			hostPrivateKeyPem: hostKey.privateKeyPem,
			hostPublicKey: hostKey.publicKey,
			hostCertificate: issueHostCertificate({
				ca: hostCa,
				hostPublicKey: hostKey.publicKey,
				hostname: `${labelOf(row.id)}.${sshDomain}`,
				serial: row.generation,
				nowMs: Date.now(),
			}),
		});
	}

	/** Derived, so that a restarted daemon knows it again. */
	#nonce(row: DevboxRow): string {
		const hmac = createHmac("sha256", this.#options.nonceKey).update(`${row.id} ${row.generation}`);
		return hmac.digest("hex").slice(0, 32);
	}

	async #follow(row: DevboxRow, address: string): Promise<void> {
		const { runtime, logs } = this.#options;
		const launch = launchOf(row);
		let work: Promise<unknown> = Promise.resolve();
		const reported = (report: Report): Promise<void> =>
			this.#reported(row.id, report).catch((error: unknown) => {
				this.#options.log.error({ err: error, devboxId: row.id }, "what a devbox reported could not be recorded");
				this.#later(() => this.#runs.get(row.id) === run && reported(report));
			});
		// An entry is written after the reports before it have taken effect: its offset is where a restarted daemon goes on.
		const onItem = (item: ConsoleItem) => {
			if (item.kind === "line") lines.take();
			work = work
				.then(() => (item.kind === "report" ? reported(item.report) : undefined))
				// Not waited for: the log keeps the order, writes many lines at once, and has its own bound.
				.then(() => void this.#record(row.id, launch, item));
		};
		const lines = new LineBudget();
		let leftOut = 0;
		const noteLeftOut = (offset: number) => {
			const text = `about ${leftOut} bytes of output are left out here: they came too fast`;
			if (leftOut > 0) onItem({ kind: "line", text, during: null, endOffset: offset });
			leftOut = 0;
		};
		const step = row.status === "running" ? ({ name: "entrypoint", index: 0 } as const) : null;
		const parser = new ConsoleParser(this.#nonce(row), onItem, step);
		let endOffset = await logs.lastOffset(row.id);
		const attachment = runtime.attach(row.id, endOffset, (chunk, end) => {
			endOffset = end;
			if (lines.isSpent()) {
				leftOut += chunk.length;
				parser.skim(chunk, end);
			} else {
				noteLeftOut(end - chunk.length);
				parser.push(chunk, end);
			}
			return work.then(() => logs.flushed(row.id));
		});
		const finished = attachment.exited.then(async (exit) => {
			noteLeftOut(endOffset);
			parser.end(endOffset);
			await work;
			return exit;
		});
		const run: Run = { address, attachment, settled: () => work, finished, entrypointExit: undefined };
		this.#runs.set(row.id, run);
		this.#options.repository.emit("changed", row.id);
		void finished.then((exit) => this.#locked(row.id, "recover", () => this.#exited(row.id, run, exit)));
	}

	async #reported(devboxId: string, report: Report): Promise<void> {
		const run = this.#runs.get(devboxId);
		if (run && report.event === "end" && report.step.name === "entrypoint") run.entrypointExit = report.exitCode;
		if (report.event !== "initialized") return;
		await this.#options.repository.transit(devboxId, ["initializing", "resuming"], "running", {
			change: { initialized: 1, running_since_ms: Date.now() },
		});
	}

	/** The process tree has ended by itself, or somebody stopped it: the status says which. */
	async #exited(devboxId: string, run: Run, exit: Exit): Promise<void> {
		if (this.#runs.get(devboxId) !== run) return;
		await this.#ended(devboxId);
		const row = await this.#options.repository.findRow(devboxId);
		if (!row) return;
		if (row.status === "initializing" || row.status === "resuming") {
			await this.#startFailed(row, exit.outOfMemory ? "out_of_memory" : "execution_failed");
		} else if (row.status === "running") {
			await this.#stoppedByItself(row, run.entrypointExit, exit);
		}
	}

	async #stoppedByItself(row: DevboxRow, entrypointExit: number | undefined, exit: Exit): Promise<void> {
		const { repository } = this.#options;
		// Killed for its memory, the entrypoint did not end by itself; one that bore the death of a process of its own did.
		if (exit.outOfMemory && (entrypointExit === undefined || entrypointExit === killedExit)) {
			await this.#note(row.id, "error", "the devbox ran out of memory");
			await repository.transit(row.id, ["running"], "failure", {
				failureReason: "out_of_memory",
				change: { ended_at_ms: Date.now(), running_since_ms: null },
			});
		} else if (entrypointExit !== undefined) {
			if (await this.shutdown(row.id, "entrypoint_exit")) queueMicrotask(() => void this.destroy(row.id));
		} else {
			await this.#note(row.id, "error", "the devbox was stopped from outside; its disk is kept");
			await repository.transit(row.id, ["running"], "suspended", { change: stoppedClock(row) });
		}
	}

	/** It ran when the daemon last looked. Its console may tell why it does not any more. */
	async #foundStopped(row: DevboxRow, absent: boolean): Promise<void> {
		if (absent) {
			await this.#options.repository.transit(row.id, ["running"], "failure", {
				failureReason: "health_check_failed",
				change: { ended_at_ms: Date.now(), running_since_ms: null },
			});
			return;
		}
		await this.#follow(row, "");
	}

	/** A first start that fails is the end of the box; after a later one the disk is kept, and the box sleeps on. */
	async #startFailed(row: DevboxRow, reason: FailureReason): Promise<void> {
		const { repository, runtime } = this.#options;
		if (row.status === "resuming") {
			await runtime.stop(row.id, { graceMs: 0 });
			await repository.transit(row.id, ["resuming"], "suspended");
			return;
		}
		const change = { ended_at_ms: Date.now() };
		await repository.transit(row.id, ["provisioning", "initializing"], "failure", { failureReason: reason, change });
		await runtime.destroy(row.id);
	}

	async #ended(devboxId: string): Promise<void> {
		const run = this.#runs.get(devboxId);
		this.#runs.delete(devboxId);
		run?.attachment.detach();
		await this.#options.logs.release(devboxId);
		this.#options.repository.emit("changed", devboxId);
	}

	async #record(devboxId: string, launch: LaunchParameters, item: ConsoleItem): Promise<void> {
		const entry = logEntry(launch, item);
		if (!entry) return;
		await this.#options.logs.append(devboxId, entry, item.endOffset);
	}

	async #note(devboxId: string, level: LogEntry["level"], message: string): Promise<void> {
		const offset = await this.#options.logs.lastOffset(devboxId);
		const entry: LogEntry = { timestampMs: Date.now(), level, source: "setup_commands", message };
		await this.#options.logs.append(devboxId, entry, offset);
	}

	/**
	 * Runs `task`, and `retry` later when it fails: it does so because the store or the host cannot be written to, mostly for
	 * want of space, and a box must not be stuck half way once they can be again.
	 */
	#locked(devboxId: string, retry: Operation, task: () => Promise<void>): Promise<void> {
		return this.#locks.run(devboxId, task).catch((error: unknown) => {
			this.#options.log.error({ err: error, devboxId }, `${retry} failed and is tried again`);
			this.#later(() => this[retry](devboxId));
		});
	}

	#later(task: () => unknown): void {
		if (this.#closed) return;
		const timer = setTimeout(() => {
			this.#retries.delete(timer);
			void task();
		}, this.#options.retryMs ?? 5_000);
		this.#retries.add(timer);
	}
}

/** Whether want of space is why: the store, the file system or a tool of the host says so. */
function isDiskFull(error: unknown): boolean {
	const { code = "", message = "", cause } = Object(error) as { code?: string; message?: string; cause?: unknown };
	if (/^(ENOSPC|EDQUOT|SQLITE_FULL)$/.test(code) || message.includes("No space left on device")) return true;
	return cause !== undefined && isDiskFull(cause);
}

/** Keeps a box that prints without end from taking the daemon's time. */
class LineBudget {
	#left = lineBurst;
	#countedAtMs = Date.now();

	take(): void {
		this.#left--;
	}

	isSpent(): boolean {
		const nowMs = Date.now();
		this.#left = Math.min(lineBurst, this.#left + ((nowMs - this.#countedAtMs) * linesPerSecond) / 1000);
		this.#countedAtMs = nowMs;
		return this.#left <= 0;
	}
}

function boxSpec(row: DevboxRow): BoxSpec {
	return { id: row.id, hostname: labelOf(row.id), limits: boxLimits(launchOf(row)) };
}

function launchOf(row: DevboxRow): LaunchParameters {
	return JSON.parse(row.launch_parameters) as LaunchParameters;
}

/** The lifetime's clock stands still from now on. */
function stoppedClock(row: DevboxRow) {
	const ran = row.running_since_ms === null ? 0 : Math.max(0, Date.now() - row.running_since_ms);
	return { running_since_ms: null, ran_before_ms: row.ran_before_ms + ran };
}

function logEntry(launch: LaunchParameters, item: ConsoleItem): LogEntry | undefined {
	const timestampMs = Date.now();
	if (item.kind === "line") {
		const source = item.during?.name === "entrypoint" ? "entrypoint" : "setup_commands";
		const level = item.during?.name === "failed" ? "error" : "info";
		return { timestampMs, level, source, message: item.text };
	}
	const { report } = item;
	if (report.event === "failed") {
		return { timestampMs, level: "error", source: "setup_commands", message: `start failed: ${report.what}` };
	}
	if (report.event !== "begin" && report.event !== "end") return undefined;
	const { name, index } = report.step;
	const source = name === "entrypoint" ? "entrypoint" : "setup_commands";
	const commands = name === "suspend" ? launch.suspendHooks?.commands : launch.launchCommands;
	const cmd = name === "entrypoint" ? undefined : commands?.[index];
	const about = { timestampMs, source, ...(cmd === undefined ? {} : { cmd }) } as const;
	if (report.event === "begin") return { ...about, level: "info" };
	return { ...about, level: report.exitCode === 0 ? "info" : "error", exitCode: report.exitCode };
}
