/** Connections to boxes: one target per devbox, port and address, idle ones reused last in, first out. */
import type { ProxyDecision } from "../decision.js";
import type { Core } from "./core.js";
import { Upstream } from "./upstream.js";

export class Target {
	readonly idle: Upstream[] = [];
	readonly all = new Set<Upstream>();

	constructor(
		readonly devboxId: string,
		readonly address: string,
		readonly port: number,
	) {}
}

class Box {
	readonly targets = new Map<number, Target>();
	connections = 0;
}

export class Pool {
	/** Connections that carry another protocol by now. */
	upgrades = 0;
	private readonly boxes = new Map<string, Box>();

	constructor(private readonly core: Core) {}

	/** An idle connection, or a new one; undefined when the devbox may have no more. */
	acquire(decision: ProxyDecision, fresh: boolean): Upstream | undefined {
		const box = this.boxes.get(decision.devboxId);
		const target = box?.targets.get(decision.port);
		if (target !== undefined && target.address !== decision.address) {
			// The box moved: what is open to its old address may by now be somebody else's.
			for (const old of [...target.all]) old.drop();
		} else if (target !== undefined && !fresh) {
			while (target.idle.length > 0) {
				const upstream = target.idle.pop()!;
				upstream.idleAt = -1;
				if (upstream.usable) return upstream;
			}
		}
		const most = this.core.limits.upstreamsPerDevbox;
		if (most > 0 && box !== undefined && box.connections >= most) return undefined;
		return this.open(decision);
	}

	private open(decision: ProxyDecision): Upstream {
		const { devboxId, address, port } = decision;
		let box = this.boxes.get(devboxId);
		let target = box?.targets.get(port);
		if (target?.address !== address) target = new Target(devboxId, address, port);
		const upstream = new Upstream(this.core, target, decision);
		if (box === undefined) {
			box = new Box();
			this.boxes.set(devboxId, box);
		}
		box.targets.set(port, target);
		box.connections++;
		target.all.add(upstream);
		return upstream;
	}

	/** Takes a connection back; false when there is no room for it. */
	put(upstream: Upstream): boolean {
		const { idle } = upstream.target;
		if (this.core.closing || idle.length >= this.core.limits.pooledPerTarget) return false;
		upstream.idleAt = idle.length;
		idle.push(upstream);
		return true;
	}

	/** The connection is gone. */
	remove(upstream: Upstream): void {
		const { target } = upstream;
		if (!target.all.delete(upstream)) return;
		if (upstream.idleAt >= 0) {
			const last = target.idle.pop()!;
			if (last !== upstream) {
				target.idle[upstream.idleAt] = last;
				last.idleAt = upstream.idleAt;
			}
			upstream.idleAt = -1;
		}
		const box = this.boxes.get(target.devboxId);
		if (box === undefined) return;
		box.connections--;
		if (target.all.size === 0 && box.targets.get(target.port) === target) box.targets.delete(target.port);
		if (box.targets.size === 0 && box.connections === 0) this.boxes.delete(target.devboxId);
	}

	dropDevbox(devboxId: string): void {
		const box = this.boxes.get(devboxId);
		if (box === undefined) return;
		for (const target of [...box.targets.values()]) for (const upstream of [...target.all]) upstream.drop();
	}

	/** Breaks off what was let in with `grant`. */
	dropGrant(devboxId: string, grant: string): void {
		const box = this.boxes.get(devboxId);
		if (box === undefined) return;
		for (const target of [...box.targets.values()])
			for (const upstream of [...target.all]) if (upstream.grant === grant) upstream.drop();
	}

	dropIdle(): void {
		for (const box of [...this.boxes.values()])
			for (const target of [...box.targets.values()]) for (const upstream of [...target.idle]) upstream.drop();
	}

	dropAll(): void {
		for (const devboxId of [...this.boxes.keys()]) this.dropDevbox(devboxId);
	}

	get connections(): number {
		let sum = 0;
		for (const box of this.boxes.values()) sum += box.connections;
		return sum;
	}

	get idleConnections(): number {
		let sum = 0;
		for (const box of this.boxes.values()) for (const target of box.targets.values()) sum += target.idle.length;
		return sum;
	}
}
