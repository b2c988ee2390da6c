/** What is compared with what: the shape of the tunnel's suite and of SSH's. */
import type { World } from "./world.js";

export interface Measurement {
	/** The figure that is compared. */
	readonly value: number;
	/** CPU of the peer per unit of work, in microseconds. */
	readonly cpuMicros: number | undefined;
	readonly errors: number;
	/** Further figures to be printed and kept. */
	readonly more?: Readonly<Record<string, number>>;
}

/** What one of ours is to reach. At least, or where less is better at most. */
export interface Goal {
	/** Whose. */
	readonly of: string;
	/** Whose figure it is compared with; without one, `bound` is the figure itself. */
	readonly peer?: string;
	/** So many times the peer's figure, or so much more than it. */
	readonly bound: number;
	readonly as?: "ratio" | "difference";
}

export interface Figure {
	readonly name: string;
	readonly unit: string;
	/** More is better; for latency and memory less is. */
	readonly moreIsBetter: boolean;
	readonly goals: readonly Goal[];
}

export interface Case<Running> extends Figure {
	/** Measured once, on a process that has done nothing else: memory grows and stays. */
	readonly fresh?: boolean;
	/** Peers that have nothing to say here. */
	readonly without?: readonly string[];
	measure(peer: Running, world: World, seconds: number): Promise<Measurement>;
}

export interface Peer<Running> {
	readonly name: string;
	/** A process of its own each time. Undefined where it is not installed. */
	start(world: World): Promise<(Running & Stoppable) | undefined>;
}

export interface Stoppable {
	stop(): Promise<void>;
}

export interface Suite<Running> {
	/** Where the tables of a full run go. */
	readonly document: string;
	/** The peers that have goals. */
	readonly ours: readonly string[];
	/** The first one is what the others are compared with. */
	readonly peers: readonly Peer<Running>[];
	readonly cases: readonly Case<Running>[];
}
